/// The tables of a snapshot file: a plain SQLite database that anybody can query. Rows stand in the order in which they
/// are loaded; lists and maps are JSON; keys and values are text where they are UTF-8, else blobs. Unsigned numbers
/// above 2^63 show as negative ones.
enum SnapshotSchema {
    static let format = 1
    /// "SESN", SQLite's application id of snapshot files.
    static let applicationID = 0x5345_534E

    static let tables = [
        "CREATE TABLE snapshot(key TEXT PRIMARY KEY, value) WITHOUT ROWID",
        "CREATE TABLE registry_meta(key TEXT NOT NULL, value BLOB NOT NULL)",
        "CREATE TABLE table_indexes(name TEXT NOT NULL, modify_index INTEGER NOT NULL)",
        """
        CREATE TABLE kv(key NOT NULL, value NOT NULL, flags INTEGER NOT NULL, lock_index INTEGER NOT NULL,
          session TEXT NOT NULL, create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL)
        """,
        """
        CREATE TABLE sessions(id TEXT NOT NULL, name TEXT NOT NULL, node TEXT NOT NULL, node_checks TEXT NOT NULL,
          service_checks TEXT NOT NULL, lock_delay_ns INTEGER NOT NULL, behavior TEXT NOT NULL, ttl_ns INTEGER NOT NULL,
          ttl TEXT NOT NULL, create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL)
        """,
        """
        CREATE TABLE nodes(name TEXT NOT NULL, id TEXT NOT NULL, address TEXT NOT NULL, datacenter TEXT NOT NULL,
          tagged_addresses TEXT NOT NULL, meta TEXT NOT NULL, create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL)
        """,
        """
        CREATE TABLE services(node TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
          tags TEXT NOT NULL, address TEXT NOT NULL, port INTEGER NOT NULL, tagged_addresses TEXT NOT NULL,
          meta TEXT NOT NULL, weight_passing INTEGER NOT NULL, weight_warning INTEGER NOT NULL,
          enable_tag_override INTEGER NOT NULL, socket_path TEXT NOT NULL, proxy NOT NULL, connect NOT NULL,
          create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL)
        """,
        """
        CREATE TABLE checks(node TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
          notes TEXT NOT NULL, output TEXT NOT NULL, service_id TEXT NOT NULL, service_name TEXT NOT NULL,
          service_tags TEXT NOT NULL, type TEXT NOT NULL, interval TEXT NOT NULL, timeout TEXT NOT NULL,
          definition NOT NULL, create_index INTEGER NOT NULL, modify_index INTEGER NOT NULL)
        """,
        "CREATE TABLE tombstones(key NOT NULL, modify_index INTEGER NOT NULL, wall_time_ns INTEGER NOT NULL)",
        "CREATE TABLE lock_delays(key NOT NULL, until_ns INTEGER NOT NULL)",
        "CREATE TABLE service_indexes(name NOT NULL, modify_index INTEGER NOT NULL)",
        """
        CREATE TABLE dedup_clients(client INTEGER NOT NULL, floor INTEGER NOT NULL, kept INTEGER NOT NULL,
          seen_wall_ns INTEGER NOT NULL, seen_index INTEGER NOT NULL)
        """,
        "CREATE TABLE dedup_results(client INTEGER NOT NULL, sequence INTEGER NOT NULL, result BLOB NOT NULL)",
        "CREATE TABLE revoked_nodes(id INTEGER NOT NULL, name TEXT NOT NULL)",
        """
        CREATE TABLE restore_staging(id INTEGER NOT NULL, total_bytes INTEGER NOT NULL, sha256 BLOB NOT NULL,
          seen_wall_ns INTEGER NOT NULL)
        """,
        "CREATE TABLE restore_chunks(start INTEGER NOT NULL, data BLOB NOT NULL)",
        "CREATE TABLE hash_marks(log_index INTEGER NOT NULL, hash BLOB NOT NULL)",
    ]

    /// Tables of rows, in the order in which a registry is loaded from them, with the number of their columns.
    static let loadOrder: [(table: String, columns: Int)] = [
        ("registry_meta", 2), ("table_indexes", 2), ("kv", 7), ("sessions", 11), ("nodes", 8), ("services", 17),
        ("checks", 15),
        ("tombstones", 3), ("lock_delays", 2), ("service_indexes", 2), ("dedup_clients", 5), ("dedup_results", 3),
        ("revoked_nodes", 2), ("restore_staging", 4), ("restore_chunks", 2), ("hash_marks", 2),
    ]

    static func insertion(_ table: String, columns: Int) -> String {
        "INSERT INTO \(table) VALUES(" + (1...columns).map { "?\($0)" }.joined(separator: ",") + ")"
    }
}
