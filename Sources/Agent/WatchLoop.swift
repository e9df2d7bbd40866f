import HTTPAPI
import Units

/// What an agent answered.
public struct WatchAnswer: Sendable, Equatable {
    public var status: Int
    /// `X-Consul-Index`; 0 when there was none.
    public var index: UInt64
    public var body: [UInt8]

    public init(status: Int, index: UInt64, body: [UInt8]) {
        self.status = status
        self.index = index
        self.body = body
    }
}

/// What a watch has seen, and what it makes of the next answer.
public struct WatchProgress: Sendable {
    private let kind: WatchDefinition.Kind
    /// To wait behind; 0 asks for an answer at once.
    public private(set) var index: UInt64 = 0
    private var last: [UInt8]?
    private var failures: UInt64 = 0

    public init(_ kind: WatchDefinition.Kind) { self.kind = kind }

    /// The JSON to hand over, or nil when nothing has changed. An index that went back says that the servers' state was
    /// restored: it counts from the beginning.
    public mutating func take(_ answer: WatchAnswer) throws(WatchFailure) -> (index: UInt64, json: [UInt8])? {
        let isMissing = answer.status == 404 && (self.kind == .key || self.kind == .keyprefix)
        guard answer.status == 200 || isMissing else {
            let text = String(decoding: answer.body.prefix(512), as: UTF8.self)
            throw WatchFailure("Unexpected response code: \(answer.status) (\(text))")
        }
        self.failures = 0
        let before = self.index
        self.index = answer.index < before ? 0 : answer.index
        let json = try self.result(answer, isMissing: isMissing, before: before)
        if let last, last == json { return nil }
        let isFirst = self.last == nil
        self.last = json
        // Old events are none to a watch that begins.
        if self.kind == .event, isFirst || json.elementsEqual("[]".utf8) { return nil }
        return (answer.index, json)
    }

    /// How long to wait before the next try: 5 s longer each time, up to 3 minutes.
    public mutating func fail() -> Nanoseconds {
        self.failures += 1
        return .seconds(min(5 * self.failures, 180))
    }

    private func result(
        _ answer: WatchAnswer, isMissing: Bool, before: UInt64
    ) throws(WatchFailure) -> [UInt8] {
        if isMissing { return Array("null".utf8) }
        let blank: (UInt8) -> Bool = { $0 <= 0x20 }
        var body = answer.body[...].drop(while: blank)
        while let byte = body.last, blank(byte) { body.removeLast() }
        switch self.kind {
        case .key:
            // The API answers with a list of one.
            guard body.first == UInt8(ascii: "["), body.last == UInt8(ascii: "]"), body.count >= 2 else {
                throw WatchFailure("the answer is no list")
            }
            return Array(body.dropFirst().dropLast())
        case .event:
            return try Self.events(Array(body), after: before)
        case .keyprefix, .services, .nodes, .service, .checks:
            return Array(body)
        }
    }

    /// The events behind the one whose id makes the index that was waited for.
    private static func events(_ body: [UInt8], after index: UInt64) throws(WatchFailure) -> [UInt8] {
        do throws(JSONError) {
            guard case .array(var events) = try JSONValue.parse(body) else { return body }
            if let seen = events.lastIndex(where: { self.index(of: $0) == index }) { events.removeFirst(seen + 1) }
            return Array("[".utf8) + events.map { Array(self.text($0).utf8) }.joined(separator: [UInt8(ascii: ",")])
                + Array("]".utf8)
        } catch {
            throw WatchFailure("the answer is no JSON: \(error.text)")
        }
    }

    private static func text(_ event: JSONValue) -> String {
        switch event {
        case .null: "null"
        case .bool(let flag): flag ? "true" : "false"
        case .number(let text): text
        case .string(let text): ConfigurationValue.text(text).json
        case .array(let items): "[" + items.map { self.text($0) }.joined(separator: ",") + "]"
        case .object(let fields):
            "{"
                + fields.map { ConfigurationValue.text($0.name).json + ":" + self.text($0.value) }.joined(
                    separator: ",")
                + "}"
        }
    }

    /// An event's place in its list: both halves of its id, laid upon each other.
    private static func index(of event: JSONValue) -> UInt64? {
        guard case .object(let fields) = event, case .string(let id) = fields.first(where: { $0.name == "ID" })?.value
        else { return nil }
        let digits = id.filter { $0 != "-" }
        guard digits.utf8.count == 32, let upper = UInt64(digits.prefix(16), radix: 16),
            let lower = UInt64(digits.suffix(16), radix: 16)
        else { return nil }
        return upper ^ lower
    }
}

public struct WatchFailure: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// Asks again and again, and hands each new answer over. Ends when its task is cancelled or `handle` says so.
public struct WatchLoop: Sendable {
    public var definition: WatchDefinition
    /// Sends a GET; cancelling the task frees it.
    public var ask: @Sendable (_ target: String) async throws -> WatchAnswer
    /// False ends the watch.
    public var handle: @Sendable (_ index: UInt64, _ json: [UInt8]) async -> Bool
    /// What went wrong, and when it is tried again. False ends the watch.
    public var complain: @Sendable (_ reason: String, _ retry: Nanoseconds) async -> Bool

    public init(
        _ definition: WatchDefinition, ask: @escaping @Sendable (String) async throws -> WatchAnswer,
        handle: @escaping @Sendable (UInt64, [UInt8]) async -> Bool,
        complain: @escaping @Sendable (String, Nanoseconds) async -> Bool
    ) {
        self.definition = definition
        self.ask = ask
        self.handle = handle
        self.complain = complain
    }

    public func run() async {
        var progress = WatchProgress(self.definition.kind)
        let target = self.definition.target
        let separator = target.contains("?") ? "&" : "?"
        while !Task.isCancelled {
            do {
                let index = progress.index
                let answer = try await self.ask(index == 0 ? target : "\(target)\(separator)index=\(index)")
                guard let news = try progress.take(answer) else {
                    // An answer without an index can't be waited behind.
                    if progress.index == 0 { try await Task.sleep(nanoseconds: 1_000_000_000) }
                    continue
                }
                if Task.isCancelled { return }
                guard await self.handle(news.index, news.json) else { return }
            } catch {
                if Task.isCancelled { return }
                let wait = progress.fail()
                guard await self.complain("\(error)", wait) else { return }
                try? await Task.sleep(nanoseconds: wait.rawValue)
            }
        }
    }
}
