// swift-tools-version: 6.2
import PackageDescription

// The rooms, each a target with a folder of its own; a room imports only rooms that stand above it here.
// SERAI_ROOMS=Raft,Registry narrows the package to some rooms, what they stand on and their tests: a short build.

struct Room {
    var name: String
    var rooms: [String] = []
    var products: [Target.Dependency] = []
    var tested = true
    var testRooms: [String] = []
    var testProducts: [Target.Dependency] = []
    var kind: Kind = .library
    enum Kind { case library, executable, c, system }
}

func product(_ name: String, _ package: String) -> Target.Dependency { .product(name: name, package: package) }

let nioCore = product("NIOCore", "swift-nio")
let nioPosix = product("NIOPosix", "swift-nio")
let nioHTTP1 = product("NIOHTTP1", "swift-nio")
let nioTLS = product("NIOTLS", "swift-nio")
let nioSSL = product("NIOSSL", "swift-nio-ssl")
let nioHTTP2 = product("NIOHTTP2", "swift-nio-http2")
let grpcCore = product("GRPCCore", "grpc-swift-2")
let grpcTransport = product("GRPCNIOTransportHTTP2Posix", "grpc-swift-nio-transport")
let logging = product("Logging", "swift-log")
let crypto = product("Crypto", "swift-crypto")
let x509 = product("X509", "swift-certificates")
let asn1 = product("SwiftASN1", "swift-asn1")
let protobuf = product("SwiftProtobuf", "swift-protobuf")
let hummingbird = product("Hummingbird", "hummingbird")
let hummingbirdCore = product("HummingbirdCore", "hummingbird")
let httpClient = product("AsyncHTTPClient", "async-http-client")
let arguments = product("ArgumentParser", "swift-argument-parser")
let histogram = product("Histogram", "hdrhistogram-swift")
let grdb = product("GRDB", "GRDB.swift")
let deque = product("DequeModule", "swift-collections")

let rooms: [Room] = [
    // pure: no I/O, no clock, no random number
    Room(name: "Units"),
    Room(name: "PersistentMap", rooms: ["Units"]),
    Room(name: "Pattern"),
    Room(name: "Filter", rooms: ["Pattern"]),
    Room(name: "HCL"),
    Room(name: "Protocol", rooms: ["Units"], products: [protobuf], tested: false),
    Room(name: "DNSCodec", rooms: ["Units"]),
    Room(name: "Raft", rooms: ["Units"], products: [deque]),
    Room(name: "Registry", rooms: ["Units", "PersistentMap", "Protocol"]),
    Room(
        name: "Replica", rooms: ["Units", "PersistentMap", "Protocol", "Raft", "Registry"], products: [deque, protobuf]),
    // I/O
    Room(name: "CFaultVFS", tested: false, kind: .c),
    Room(name: "CZlib", tested: false, kind: .system),
    Room(
        name: "Storage", rooms: ["Units", "Protocol", "Raft", "Registry"], products: [grdb, crypto],
        testRooms: ["FaultDisk"]),
    Room(name: "FaultDisk", rooms: ["Storage", "CFaultVFS"], tested: false),
    Room(name: "Certificates", rooms: ["Units", "Protocol"], products: [x509, asn1, crypto]),
    Room(
        name: "Transport", rooms: ["Units", "Protocol", "Raft", "Certificates"],
        products: [nioCore, nioPosix, nioSSL, nioTLS, logging]),
    Room(
        name: "HealthChecks", rooms: ["Units", "Protocol"],
        products: [
            httpClient, nioCore, nioPosix, nioSSL, nioHTTP1, nioHTTP2, nioTLS, grpcCore, grpcTransport, protobuf,
            logging,
        ],
        testProducts: [x509, asn1, crypto]),
    // ways
    Room(
        name: "Cluster",
        rooms: ["Units", "Protocol", "Raft", "Registry", "Replica", "Storage", "Certificates", "Transport"],
        products: [nioCore, nioPosix, logging, crypto, protobuf]),
    Room(
        name: "LocalAgent", rooms: ["Units", "Protocol", "Registry", "HealthChecks", "Storage", "Cluster"],
        products: [logging, protobuf],
        testProducts: [nioCore, nioPosix]),
    // faces
    Room(
        name: "HTTPAPI", rooms: ["Units", "Filter", "Protocol", "Registry", "CZlib", "Cluster", "LocalAgent"],
        products: [hummingbirdCore, nioCore, nioPosix, nioHTTP1, nioSSL, nioTLS, logging],
        testProducts: [x509, asn1, crypto]),
    Room(
        name: "DNSServer", rooms: ["Units", "Protocol", "DNSCodec", "Registry", "Cluster"],
        products: [nioCore, nioPosix, logging]),
    // whole
    Room(
        name: "Agent",
        rooms: [
            "Units", "Pattern", "HCL", "DNSCodec", "Protocol", "Raft", "Registry", "Replica", "Storage", "Certificates",
            "Transport",
            "HealthChecks",
            "Cluster", "LocalAgent", "HTTPAPI", "DNSServer",
        ],
        products: [nioCore, nioPosix, nioHTTP1, nioSSL, logging, hummingbird, httpClient]),
    Room(
        name: "serai",
        rooms: [
            "Units", "Pattern", "HCL", "Protocol", "Raft", "Registry", "Agent", "Certificates", "Storage", "Cluster",
        ],
        products: [arguments, httpClient, nioCore, nioPosix, nioHTTP1, nioSSL, protobuf, logging],
        kind: .executable),
    // beside
    Room(name: "Linearizability"),
    Room(
        name: "Simulation",
        rooms: [
            "Units", "Protocol", "Raft", "Registry", "Replica", "Storage", "Transport", "Linearizability", "FaultDisk",
            "Cluster", "LocalAgent", "HTTPAPI",
        ],
        products: [protobuf, nioCore, nioHTTP1, logging]),
    Room(name: "simulate", rooms: ["Simulation"], products: [arguments], tested: false, kind: .executable),
    Room(name: "judge", rooms: ["Linearizability"], products: [arguments], tested: false, kind: .executable),
    Room(
        name: "rows", rooms: ["Units", "Protocol", "Registry"], products: [arguments], tested: false,
        kind: .executable),
    Room(
        name: "load", products: [nioCore, nioPosix, histogram, arguments], tested: false,
        kind: .executable),
]

let wanted: Set<String>? = Context.environment["SERAI_ROOMS"].map { text in
    var names = Set(text.split(separator: ",").map(String.init))
    var open = Array(names)
    while let name = open.popLast() {
        for room in rooms where room.name == name {
            for other in room.rooms + room.testRooms where names.insert(other).inserted { open.append(other) }
        }
    }
    return names
}
// A room that is only stood on keeps its tests to itself.
let named = Context.environment["SERAI_ROOMS"].map { Set($0.split(separator: ",").map(String.init)) }

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    // In release builds the compiler takes libc's structures for members of CoreFoundation under this feature.
    .enableUpcomingFeature("MemberImportVisibility", .when(configuration: .debug)),
]

var targets: [Target] = []
for room in rooms where wanted?.contains(room.name) ?? true {
    let below = room.rooms.map { Target.Dependency(stringLiteral: $0) } + room.products
    let path = ["load", "rows"].contains(room.name) ? "Benchmarks/\(room.name)" : "Sources/\(room.name)"
    switch room.kind {
    case .library:
        let excluded = room.name == "Protocol" ? ["Schemas", "generate"] : []
        targets.append(
            .target(name: room.name, dependencies: below, path: path, exclude: excluded, swiftSettings: settings))
    case .executable:
        targets.append(.executableTarget(name: room.name, dependencies: below, path: path, swiftSettings: settings))
    case .c:
        targets.append(.target(name: room.name, path: path, linkerSettings: [.linkedLibrary("sqlite3")]))
    case .system:
        targets.append(.systemLibrary(name: room.name, path: path))
    }
    if room.tested, named?.contains(room.name) ?? true {
        let own = Target.Dependency(stringLiteral: room.name)
        let more = room.rooms + room.testRooms
        targets.append(
            .testTarget(
                name: "\(room.name)Tests",
                dependencies: [own] + more.map { Target.Dependency(stringLiteral: $0) } + room.products
                    + room.testProducts,
                path: "Tests/\(room.name)Tests", exclude: room.name == "Raft" ? ["Scenarios"] : [],
                swiftSettings: settings))
    }
}

// SERAI_FUZZ=1: the fuzzers of Tests/Fuzzers and nothing else. The rooms are cut down to what reads bytes from outside, so
// that the build is short, and compiled to tell libFuzzer which code an input reaches.
if Context.environment["SERAI_FUZZ"] != nil {
    let parts: [(room: String, files: [String]?, needs: [Target.Dependency])] = [
        ("Units", nil, []),
        ("Protocol", nil, ["Units", protobuf]),
        ("Raft", nil, ["Units", deque]),
        ("DNSCodec", nil, ["Units"]),
        ("HCL", nil, []),
        ("Pattern", nil, []),
        ("Filter", nil, ["Pattern"]),
        (
            "Transport", ["Framing.swift", "RaftWire.swift", "RaftWire+Decoding.swift"],
            ["Units", "Protocol", "Raft", nioCore, protobuf]
        ),
        ("HTTPAPI", ["JSON", "Routes/RequestTarget.swift"], ["Units", nioCore]),
    ]
    let instrumented = settings + [.unsafeFlags(["-sanitize=fuzzer,address"])]
    targets = parts.map { part in
        .target(
            name: part.room, dependencies: part.needs, path: "Sources/\(part.room)",
            exclude: part.room == "Protocol"
                ? ["Schemas", "generate"] : part.room == "HTTPAPI" ? ["JSON/ModelJSON.swift"] : [],
            sources: part.files, swiftSettings: instrumented)
    }
    targets.append(.target(name: "FuzzDriver", path: "Tests/Fuzzers/driver", swiftSettings: settings))
    let fuzzers: [(name: String, needs: [Target.Dependency])] = [
        ("rpc", ["Units", "Protocol", "Raft", "Transport", nioCore, protobuf]),
        ("http", ["Units", "HTTPAPI", nioCore]),
        ("dns", ["Units", "DNSCodec"]),
        ("hcl", ["Units", "HCL"]),
        ("filter", ["Units", "Filter"]),
    ]
    for fuzzer in fuzzers {
        targets.append(
            .executableTarget(
                name: "fuzz-\(fuzzer.name)", dependencies: fuzzer.needs + ["FuzzDriver"],
                path: "Tests/Fuzzers/\(fuzzer.name)",
                swiftSettings: instrumented + [.unsafeFlags(["-parse-as-library"])],
                linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]))
    }
}

let package = Package(
    name: "serai",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.0"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    ],
    targets: targets
)
