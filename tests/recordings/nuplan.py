"""A small nuPlan database with its map."""

import sqlite3
import struct
from pathlib import Path

import numpy as np
import shapely

from recordings.motion import STEPS, bend, on_bend

Array = np.ndarray

NUPLAN_ORIGIN = np.array([664_000.0, 3_999_000.0, 600.0])  # in UTM zone 11, Las Vegas


def write_nuplan(folder: Path) -> Path:
    """Write a folder with ``small.db``, a log of two scenes at 20 Hz, and its map."""
    path = folder / "nuplan"
    maps = path / "maps" / "us-nv-las-vegas-strip" / "9.15"
    maps.mkdir(parents=True)
    nuplan_map(maps / "map.gpkg")
    log = sqlite3.connect(path / "small.db")
    log.executescript("""
        CREATE TABLE log (token BLOB PRIMARY KEY, vehicle_name TEXT, location TEXT, map_version TEXT);
        CREATE TABLE scene (token BLOB PRIMARY KEY, log_token BLOB, name TEXT);
        CREATE TABLE lidar_pc (token BLOB PRIMARY KEY, ego_pose_token BLOB, scene_token BLOB, timestamp INTEGER);
        CREATE TABLE ego_pose (token BLOB PRIMARY KEY, timestamp INTEGER, x FLOAT, y FLOAT, z FLOAT, qw FLOAT, qx FLOAT,
            qy FLOAT, qz FLOAT, vx FLOAT, vy FLOAT, vz FLOAT);
        CREATE TABLE category (token BLOB PRIMARY KEY, name TEXT);
        CREATE TABLE track (token BLOB PRIMARY KEY, category_token BLOB, width FLOAT, length FLOAT, height FLOAT);
        CREATE TABLE lidar_box (token BLOB PRIMARY KEY, lidar_pc_token BLOB, track_token BLOB, x FLOAT, y FLOAT,
            z FLOAT, width FLOAT, length FLOAT, height FLOAT, vx FLOAT, vy FLOAT, vz FLOAT, yaw FLOAT,
            confidence FLOAT);
        CREATE TABLE traffic_light_status (token BLOB PRIMARY KEY, lidar_pc_token BLOB, lane_connector_id INTEGER,
            status TEXT);
    """)
    log.execute("INSERT INTO log VALUES (?, 'pacifica', 'us-nv-las-vegas-strip', 'nuplan-maps-v1.0')", (b"log",))
    log.executemany("INSERT INTO category VALUES (?, ?)", [(b"c1", "bicycle"), (b"c2", "traffic_cone")])
    log.executemany("INSERT INTO track VALUES (?, ?, 0.7, 1.8, 1.6)", [(b"\x01\xaa", b"c1"), (b"\x02\xbb", b"c2")])
    for number in range(2):
        log.execute("INSERT INTO scene VALUES (?, ?, ?)", (b"scene%d" % number, b"log", f"scene-00{number}"))
        for k in range(2 * STEPS - 1):
            s = 0.25 * k
            xy, yaw, way = on_bend(s)
            x, y = xy - 1.461 * way + NUPLAN_ORIGIN[:2]
            token, stamp = b"%d-%d" % (number, k), 1_620_000_000_000_000 + 50_000 * k + 100_000_000 * number
            turn = (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))
            pose = (token, stamp, x, y, NUPLAN_ORIGIN[2], *turn, 5.0, 0.0, 0.0)
            log.execute(f"INSERT INTO ego_pose VALUES ({','.join('?' * 12)})", pose)
            log.execute("INSERT INTO lidar_pc VALUES (?, ?, ?, ?)", (token, token, b"scene%d" % number, stamp))
            status = "red" if k < STEPS else "green"
            log.execute("INSERT INTO traffic_light_status VALUES (?, ?, 20, ?)", (token, token, status))
            (bx, by), turned, moving = on_bend(20.0 + 0.2 * k)
            boxes = [(b"\x01\xaa", bx, by, *(4.0 * moving), turned, 1.6), (b"\x02\xbb", 12.0, -3.0, 0.0, 0.0, 0.0, 1.0)]
            for track, px, py, vx, vy, heading, high in boxes[: 1 if k >= 30 else 2]:
                place = (px + NUPLAN_ORIGIN[0], py + NUPLAN_ORIGIN[1], NUPLAN_ORIGIN[2] + high / 2)
                row = (token + track, token, track, *place, 0.7, 1.8, high, vx, vy, 0.0, heading, 1.0)
                log.execute(f"INSERT INTO lidar_box VALUES ({','.join('?' * 14)})", row)
    log.commit()
    log.close()
    return path


def nuplan_map(path: Path) -> None:
    """Write a map: a lane, a connector, a block of ground, a crosswalk, all in metres of UTM zone 11."""
    city = sqlite3.connect(path)
    layers = {
        "baseline_paths": "lane_fid INTEGER, lane_connector_fid INTEGER",
        "lanes_polygons": "speed_limit_mps FLOAT",
        "lane_connectors": "exit_lane_fid INTEGER, entry_lane_fid INTEGER, speed_limit_mps FLOAT",
        "lane_groups_polygons": "intersection_fid INTEGER",
        "crosswalks": "intersection_fid INTEGER",
        "boundaries": "boundary_type_fid INTEGER",
    }
    city.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    city.execute("INSERT INTO meta VALUES ('projectedCoordSystem', 'epsg:32611')")
    city.execute("CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, srs_id INTEGER)")
    for name, columns in layers.items():
        city.execute(f"CREATE TABLE {name} (fid INTEGER PRIMARY KEY, geom BLOB, {columns})")
        city.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 32611)", (name,))

    def blob(xy: Array, ring: bool = False) -> bytes:
        shape = shapely.Polygon(xy + NUPLAN_ORIGIN[:2]) if ring else shapely.LineString(xy + NUPLAN_ORIGIN[:2])
        return b"GP\x00\x01" + struct.pack("<i", 32611) + shapely.to_wkb(shape)

    def strip(first: float, last: float, right: float, left: float) -> bytes:
        return blob(np.concatenate([bend(first, last, right), bend(first, last, left)[::-1]]), ring=True)

    city.execute("INSERT INTO baseline_paths VALUES (1, ?, 10, NULL)", (blob(bend(-20.0, 30.0)),))
    city.execute("INSERT INTO baseline_paths VALUES (2, ?, NULL, 20)", (blob(bend(30.0, 60.0)),))
    city.execute("INSERT INTO baseline_paths VALUES (3, ?, 11, NULL)", (blob(bend(60.0, 90.0)),))
    city.execute("INSERT INTO lanes_polygons VALUES (10, ?, 11.5)", (strip(-20.0, 30.0, -1.75, 1.75),))
    city.execute("INSERT INTO lanes_polygons VALUES (11, ?, NULL)", (strip(60.0, 90.0, -1.75, 1.75),))
    city.execute("INSERT INTO lane_connectors VALUES (20, ?, 10, 11, 8.0)", (blob(bend(30.0, 60.0)),))
    city.execute("INSERT INTO lane_groups_polygons VALUES (30, ?, NULL)", (strip(-20.0, 90.0, -4.0, 4.0),))
    city.execute("INSERT INTO crosswalks VALUES (40, ?, NULL)", (strip(31.0, 34.0, -4.0, 4.0),))
    city.execute("INSERT INTO boundaries VALUES (50, ?, 2)", (blob(bend(-20.0, 90.0, 1.75)),))
    city.commit()
    city.close()
