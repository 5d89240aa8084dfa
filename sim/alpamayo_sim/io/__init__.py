"""Plain data on disk, versioned and without loss."""
