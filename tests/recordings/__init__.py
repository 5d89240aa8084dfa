"""What tests of readers share: small recordings in each format, replays of them, and damaged copies."""
