import Cluster
import Glibc
import HTTPAPI
import Logging
import NIOPosix

/// What the API shows of the process and its machine.
struct ThisProcess: ProcessAccess {
    /// Whose file system is told about.
    var dataDirectory: String

    func followLog(_ level: Logger.Level, asJSON: Bool) -> (any LogFollower)? {
        LogFollowers.shared.follow(level, asJSON: asJSON)
    }

    func host() async -> JSONValue {
        let directory = self.dataDirectory
        // Files, if of the kernel's making: not for the pool that answers requests.
        let host = try? await NIOThreadPool.singleton.runIfActive { HostFacts(directory).json }
        return host ?? .object([])
    }
}

/// Linux's `/proc`, in the names that Consul gives its entries.
package struct HostFacts {
    private let directory: String

    package init(_ directory: String) { self.directory = directory }

    package var json: JSONValue {
        var errors: [JSONValue] = []
        func part(_ name: String, _ value: JSONValue?) -> JSONValue.Field {
            if value == nil { errors.append(.string("\(name) could not be read")) }
            return .init(name: name, value: value ?? .null)
        }
        var fields = [
            part("Memory", self.memory), part("CPU", self.processors), part("Host", self.system),
            part("Disk", self.disk),
        ]
        fields.append(.init(name: "CollectionTime", value: .number("\(SystemClock.wallTime())")))
        fields.append(.init(name: "Errors", value: errors.isEmpty ? .null : .array(errors)))
        return .object(fields)
    }

    // MARK: - memory

    private static let memoryNames: [(name: String, entry: String)] = [
        ("total", "MemTotal"), ("available", "MemAvailable"), ("free", "MemFree"), ("active", "Active"),
        ("inactive", "Inactive"), ("buffers", "Buffers"), ("cached", "Cached"), ("writeBack", "Writeback"),
        ("dirty", "Dirty"), ("shared", "Shmem"), ("slab", "Slab"), ("mapped", "Mapped"), ("swapCached", "SwapCached"),
        ("swapTotal", "SwapTotal"), ("swapFree", "SwapFree"), ("commitLimit", "CommitLimit"),
        ("committedAS", "Committed_AS"), ("pageTables", "PageTables"),
    ]

    private var memory: JSONValue? {
        guard let text = Self.read("/proc/meminfo") else { return nil }
        let entries = Self.pairs(text).mapValues { UInt64($0.split(separator: " ").first ?? "") ?? 0 }
        guard let total = entries["MemTotal"], total > 0 else { return nil }
        var fields = Self.memoryNames.map { name, entry in Self.field(name, (entries[entry] ?? 0) * 1024) }
        let unused = ["MemFree", "Buffers", "Cached"].reduce(0) { $0 + (entries[$1] ?? 0) }
        let used = total > unused ? total - unused : 0
        fields.append(Self.field("used", used * 1024))
        fields.append(.init(name: "usedPercent", value: .number("\(Double(used) / Double(total) * 100)")))
        return .object(fields)
    }

    // MARK: - processors

    private var processors: JSONValue? {
        guard let text = Self.read("/proc/cpuinfo") else { return nil }
        let blocks = Self.blocks(text).map(Self.pairs).filter { $0["processor"] != nil }
        return blocks.isEmpty ? nil : .array(blocks.map(Self.processor))
    }

    private static func processor(_ entries: [String: String]) -> JSONValue {
        func text(_ name: String, _ entry: String) -> JSONValue.Field {
            .init(name: name, value: .string(entries[entry] ?? ""))
        }
        func number(_ name: String, _ entry: String) -> JSONValue.Field {
            let value = Double(entries[entry]?.split(separator: " ").first ?? "") ?? 0
            return .init(name: name, value: .number(Int64(exactly: value).map { "\($0)" } ?? "\(value)"))
        }
        let flags = (entries["flags"] ?? "").split(separator: " ").map { JSONValue.string(String($0)) }
        return .object([
            number("cpu", "processor"), text("vendorId", "vendor_id"), text("family", "cpu family"),
            text("model", "model"), number("stepping", "stepping"), text("physicalId", "physical id"),
            text("coreId", "core id"), number("cores", "cpu cores"), text("modelName", "model name"),
            number("mhz", "cpu MHz"), number("cacheSize", "cache size"), .init(name: "flags", value: .array(flags)),
            text("microcode", "microcode"),
        ])
    }

    // MARK: - system and disk

    private var system: JSONValue? {
        var names = utsname()
        guard uname(&names) == 0 else { return nil }
        let release = Self.pairs(Self.read("/etc/os-release") ?? "", separator: "=")
        func released(_ name: String) -> JSONValue {
            .string((release[name] ?? "").filter { $0 != "\"" })
        }
        let uptime = Self.read("/proc/uptime")?.split(separator: ".").first.flatMap { UInt64($0) } ?? 0
        let now = SystemClock.wallTime() / 1_000_000_000
        let identity = Self.read("/etc/machine-id")?.filter { $0 != "\n" } ?? ""
        return .object([
            .init(name: "hostname", value: .string(Self.text(&names.nodename))), Self.field("uptime", uptime),
            Self.field("bootTime", now > uptime ? now - uptime : 0), .init(name: "os", value: .string("linux")),
            .init(name: "platform", value: released("ID")), .init(name: "platformFamily", value: released("ID")),
            .init(name: "platformVersion", value: released("VERSION_ID")),
            .init(name: "kernelVersion", value: .string(Self.text(&names.release))),
            .init(name: "kernelArch", value: .string(Self.text(&names.machine))),
            .init(name: "hostId", value: .string(identity)),
        ])
    }

    private var disk: JSONValue? {
        var facts = statvfs()
        guard statvfs(self.directory, &facts) == 0, facts.f_blocks > 0 else { return nil }
        return Self.disk(facts, at: self.directory)
    }

    /// File systems of other machines' making count as they please: more free than there is, or without an end.
    package static func disk(_ facts: statvfs, at path: String) -> JSONValue {
        func bytes(_ blocks: UInt64) -> UInt64 {
            let (product, overflow) = blocks.multipliedReportingOverflow(by: UInt64(facts.f_frsize))
            return overflow ? .max : product
        }
        func used(_ all: UInt64, _ free: UInt64) -> UInt64 { all > free ? all - free : 0 }
        let (taken, free) = (bytes(used(UInt64(facts.f_blocks), UInt64(facts.f_bfree))), bytes(UInt64(facts.f_bavail)))
        let both = Double(taken) + Double(free)
        return .object([
            .init(name: "path", value: .string(path)), self.field("total", bytes(UInt64(facts.f_blocks))),
            self.field("free", free), self.field("used", taken),
            .init(name: "usedPercent", value: .number("\(both == 0 ? 0 : Double(taken) / both * 100)")),
            self.field("inodesTotal", UInt64(facts.f_files)),
            self.field("inodesUsed", used(UInt64(facts.f_files), UInt64(facts.f_ffree))),
            self.field("inodesFree", UInt64(facts.f_ffree)),
        ])
    }

    // MARK: - reading

    private static func field(_ name: String, _ number: UInt64) -> JSONValue.Field {
        .init(name: name, value: .number("\(number)"))
    }

    private static func text<Tuple>(_ tuple: inout Tuple) -> String {
        withUnsafeBytes(of: &tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    /// At most a megabyte.
    private static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while bytes.count < 1 << 20 {
            let count = piece.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            if count <= 0 { break }
            bytes += piece[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func pairs(_ text: String, separator: Character) -> [String: String] {
        var pairs: [String: String] = [:]
        for line in text.split(separator: "\n") {
            guard let mark = line.firstIndex(of: separator) else { continue }
            let name = line[..<mark].filter { $0 != "\t" }
            pairs[String(name)] = String(line[line.index(after: mark)...].drop { $0 == " " })
        }
        return pairs
    }

    private static func pairs(_ text: String) -> [String: String] { self.pairs(text, separator: ":") }

    /// Parts that an empty line divides.
    private static func blocks(_ text: String) -> [String] {
        var blocks = [""]
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty { blocks.append("") } else { blocks[blocks.count - 1] += line + "\n" }
        }
        return blocks
    }
}
