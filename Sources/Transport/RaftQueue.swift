import NIOCore
import Raft
import Units

/// Raft messages that wait to be written to one peer, bounded in number and bytes. When it is full the oldest message
/// that is no snapshot chunk is dropped: Raft sends again what is not acknowledged, and a newer message says more. A
/// dropped chunk would cost a timeout of the whole transfer.
package struct RaftQueue: Sendable {
    private struct Item: Sendable {
        let message: Raft.Message
        let bytes: Int
        let isChunk: Bool
    }

    private var items: CircularBuffer<Item> = []
    package private(set) var bytes = 0
    package private(set) var dropped: UInt64 = 0
    private let messagesMax: Int
    private let bytesMax: Int

    package init(_ settings: TransportSettings) {
        self.messagesMax = settings.raftQueueMessages
        self.bytesMax = settings.raftQueueBytes.rawValue
    }

    package var count: Int { self.items.count }
    package var isEmpty: Bool { self.items.isEmpty }

    package mutating func append(_ message: Raft.Message) {
        let item = Item(message: message, bytes: Self.size(message), isChunk: Self.isChunk(message))
        while self.items.count >= self.messagesMax || self.bytes + item.bytes > self.bytesMax {
            guard let victim = self.items.firstIndex(where: { !$0.isChunk }) else {
                // Only chunks wait. A message that is larger than the whole queue goes alone.
                if self.items.isEmpty { break }
                self.dropped += 1
                return
            }
            self.bytes -= self.items.remove(at: victim).bytes
            self.dropped += 1
        }
        self.items.append(item)
        self.bytes += item.bytes
    }

    package mutating func popFirst() -> Raft.Message? {
        guard let item = self.items.popFirst() else { return nil }
        self.bytes -= item.bytes
        return item.message
    }

    package mutating func removeAll() {
        self.dropped += UInt64(self.items.count)
        self.items.removeAll()
        self.bytes = 0
    }

    private static func isChunk(_ message: Raft.Message) -> Bool {
        if case .snapshotChunk = message.body { return true }
        return false
    }

    /// What the message takes on the wire, roughly: 64 bytes for its fixed parts, 24 for each entry's.
    private static func size(_ message: Raft.Message) -> Int {
        switch message.body {
        case .append(let append): append.entries.reduce(64) { $0 + 24 + $1.payload.byteCount }
        case .snapshotChunk(let chunk): 256 + chunk.data.count
        case .voteRequest, .voteResponse, .appendResponse, .snapshotResponse, .timeoutNow, .readIndexRequest,
            .readIndexResponse:
            64
        }
    }
}
