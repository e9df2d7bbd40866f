import NIOCore
import Protocol
import Raft
import SwiftProtobuf
import Testing
import Transport
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite struct RaftWireTests {
    @Test func everyMessageComesBackAsItWas() throws {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<10_000 {
            let message = WireSamples.message(&generator)
            let bytes: [UInt8] = try RaftWire.encode(message).serializedBytes()
            #expect(try RaftWire.decode(PeerRaftMessage(serializedBytes: bytes)) == message)
        }
    }

    /// Changed bytes either are no protobuf message, or are refused by name, or decode to a message that encodes to
    /// itself.
    @Test func changedBytesNeverTrap() throws {
        var generator = SeededGenerator(seed: 2)
        var outcomes = (unreadable: 0, refused: 0, accepted: 0)
        for _ in 0..<40_000 {
            var bytes: [UInt8] = try RaftWire.encode(WireSamples.message(&generator)).serializedBytes()
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes.remove(at: position)
                case 1: bytes.insert(.random(in: .min ... .max, using: &generator), at: position)
                case 2: bytes[position] = [0x00, 0x7F, 0x80, 0xFF].randomElement(using: &generator) ?? 0
                default: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                }
            }
            guard let wire = try? PeerRaftMessage(serializedBytes: bytes) else {
                outcomes.unreadable += 1
                continue
            }
            do throws(RaftWireError) {
                let message = try RaftWire.decode(wire)
                #expect(try RaftWire.decode(RaftWire.encode(message)) == message)
                outcomes.accepted += 1
            } catch {
                #expect(!error.description.isEmpty)
                outcomes.refused += 1
            }
        }
        // The generator reaches all three.
        #expect(outcomes.unreadable > 1000)
        #expect(outcomes.refused > 1000)
        #expect(outcomes.accepted > 1000)
    }

    /// Fields are set to numbers at which counting up would overflow.
    @Test func numbersThatCouldOverflowAreRefused() throws {
        for value in [UInt64.max, UInt64.max - 1, 1 << 63, 1 << 62] {
            var term = Self.append()
            term.term = value
            var previous = Self.append()
            previous.append.previousIndex = value
            var commit = Self.append()
            commit.append.commit = value
            var sequence = Self.append()
            sequence.append.sequence = value
            var position = Self.append()
            position.append.readPosition = value
            var offset = RaftWire.encode(WireSamples.chunk(from: 2, to: 1, bytes: 10))
            offset.snapshotChunk.offset = value
            var total = RaftWire.encode(WireSamples.chunk(from: 2, to: 1, bytes: 10))
            total.snapshotChunk.meta.totalBytes = value
            for wire in [term, previous, commit, sequence, position, offset, total] {
                #expect(throws: RaftWireError.self) { try RaftWire.decode(wire) }
            }
        }
    }

    private static func append(_ change: (inout PeerRaftMessage) -> Void = { _ in }) -> PeerRaftMessage {
        var wire = PeerRaftMessage()
        wire.from = 2
        wire.to = 1
        wire.term = 5
        wire.append.previousIndex = 10
        wire.append.previousTerm = 3
        for offset in 0..<2 as Range<UInt64> {
            var entry = PeerEntry()
            entry.index = 11 + offset
            entry.term = 4
            entry.kind = 1
            wire.append.entries.append(entry)
        }
        change(&wire)
        return wire
    }

    private func refusal(_ wire: PeerRaftMessage) -> String? {
        do throws(RaftWireError) {
            _ = try RaftWire.decode(wire)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func whatTheAlgorithmTakesForGrantedIsChecked() throws {
        #expect(self.refusal(Self.append()) == nil)
        let cases: [(String, (inout PeerRaftMessage) -> Void)] = [
            ("from is 0", { $0.from = 0 }),
            ("to is 0", { $0.to = 0 }),
            ("unknown kind of Raft message", { $0.kind = nil }),
            ("entries jump from index 11 to 13", { $0.append.entries[1].index = 13 }),
            (
                "entries jump from index 12 to 11",
                {
                    $0.append.entries[0].index = 11; $0.append.previousIndex = 12
                }
            ),
            ("entries have term 3 after 4 in term 5", { $0.append.entries[1].term = 3 }),
            ("entries have term 6 after 4 in term 5", { $0.append.entries[1].term = 6 }),
            ("entries have term 4 after 5 in term 5", { $0.append.previousTerm = 5 }),
            ("entry.kind 3 is unknown", { $0.append.entries[0].kind = 3 }),
            (
                "entry.data must be empty for a no-op",
                {
                    $0.append.entries[0].kind = 0; $0.append.entries[0].data = Data([1])
                }
            ),
            (
                "entry.data is no configuration",
                {
                    $0.append.entries[0].kind = 2; $0.append.entries[0].data = Data([0xFF])
                }
            ),
            ("voters is empty", { $0.append.entries[0].kind = 2 }),
            ("entry.index is 0", { $0.append.entries[0].index = 0 }),
        ]
        for (text, change) in cases {
            #expect(self.refusal(Self.append(change)) == text)
        }
    }

    @Test func membersMustBeSortedDistinctAndDisjoint() throws {
        func member(_ id: UInt64) -> PeerMember {
            var member = PeerMember()
            member.id = id
            return member
        }
        func refusal(_ change: (inout PeerConfiguration) -> Void) -> String? {
            var wire = PeerConfiguration()
            wire.voters = [member(1), member(2), member(3)]
            change(&wire)
            do throws(RaftWireError) {
                _ = try RaftWire.decode(wire)
                return nil
            } catch {
                return error.description
            }
        }
        #expect(refusal { _ in } == nil)
        #expect(
            refusal {
                $0.outgoing = [member(1), member(4)]; $0.joint = true
            } == nil)
        #expect(refusal { $0.learners = [member(4)] } == nil)
        #expect(refusal { $0.voters.swapAt(0, 1) } == "voters is not sorted by id, or names a member twice")
        #expect(refusal { $0.voters[1] = member(1) } == "voters is not sorted by id, or names a member twice")
        #expect(refusal { $0.voters[0] = member(0) } == "member.id is 0")
        #expect(refusal { $0.learners = [member(3)] } == "learners names a voter")
        #expect(refusal { $0.outgoing = [member(1)] } == "outgoing is set outside of a joint configuration")
        #expect(refusal { $0.joint = true } == "outgoing is empty in a joint configuration")
        #expect(refusal { $0.voters[0].name = String(repeating: "x", count: 513) } == "member.name is too long")
        #expect(refusal { $0.voters[0].address = String(repeating: "x", count: 513) } == "member.address is too long")
        #expect(refusal { $0.voters = (1...65).map(member) } == "voters has more than 64 members")
    }

    @Test func aSnapshotChunkMustLieWithinItsSnapshot() throws {
        var wire = RaftWire.encode(WireSamples.chunk(from: 2, to: 1, bytes: 10))
        #expect(self.refusal(wire) == nil)
        wire.snapshotChunk.offset = 1
        #expect(self.refusal(wire) == "data goes beyond the snapshot's 10 bytes")
        wire.snapshotChunk.offset = 11
        #expect(self.refusal(wire) == "data goes beyond the snapshot's 10 bytes")
        wire.snapshotChunk.offset = 0
        wire.snapshotChunk.meta.sha256 = Data([1])
        #expect(self.refusal(wire) == "sha256 must have 32 bytes")
        wire.snapshotChunk.clearMeta()
        #expect(self.refusal(wire) == "meta is missing")
    }
}

@Suite struct FramingTests {
    private func frame(_ call: UInt64, _ body: Int) -> PeerFrame {
        var frame = PeerFrame()
        frame.call = call
        frame.request = httpRequest([UInt8](repeating: 7, count: body))
        return frame
    }

    private func bytes(_ frame: PeerFrame) throws -> [UInt8] {
        var buffer = ByteBuffer()
        let payload: [UInt8] = try frame.request.serializedBytes()
        FrameWriter.write(.request, call: frame.call, payload: payload, into: &buffer)
        #expect(buffer.readableBytes <= payload.count + FrameWriter.overhead)
        return Array(buffer.readableBytesView)
    }

    @Test func aWrittenFrameIsThePrefixedMessage() throws {
        for call in [1, 127, 128, 1 << 20, UInt64.max] {
            let frame = self.frame(call, 300)
            let written = try self.bytes(frame)
            let reference: [UInt8] = try frame.serializedBytes()
            #expect(Array(written.dropFirst(4)) == reference)
            #expect(written.prefix(4).reduce(0) { $0 << 8 | Int($1) } == reference.count)
        }
    }

    /// However the network cuts the stream, the same frames come out.
    @Test func framesSurviveEveryCut() throws {
        var generator = SeededGenerator(seed: 4)
        let frames = (1...50 as ClosedRange<UInt64>).map { self.frame($0, Int($0 * 13 % 400)) }
        var stream: [UInt8] = []
        for frame in frames { stream += try self.bytes(frame) + [0, 0, 0, 0] }
        for round in 0..<100 {
            var reader = FrameReader(limit: 4096)
            var found: [PeerFrame] = []
            var keepAlives = 0
            var rest = stream[...]
            while !rest.isEmpty {
                let count = min(rest.count, round == 0 ? 1 : Int.random(in: 1...700, using: &generator))
                reader.append(ByteBuffer(bytes: rest.prefix(count)))
                rest = rest.dropFirst(count)
                while let frame = try reader.next() {
                    switch frame {
                    case .keepAlive: keepAlives += 1
                    case .message(let message): found.append(message)
                    }
                }
            }
            #expect(found == frames)
            #expect(keepAlives == 50)
        }
    }

    @Test func randomBytesAreFramesOrErrorsButNeverATrap() {
        var generator = SeededGenerator(seed: 6)
        for _ in 0..<10_000 {
            var reader = FrameReader(limit: 1024)
            let count = Int.random(in: 0..<200, using: &generator)
            var bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            if bytes.count > 4 { bytes.replaceSubrange(0..<3, with: [0, 0, 0]) }
            reader.append(ByteBuffer(bytes: bytes))
            do {
                while try reader.next() != nil {}
            } catch {
                #expect(!error.description.isEmpty)
            }
        }
    }

    @Test func aFrameBeyondTheLimitIsRefusedByItsFirstFourBytes() {
        var reader = FrameReader(limit: 1024)
        reader.append(ByteBuffer(bytes: [0, 0, 4, 1]))
        #expect(throws: FrameError.tooLarge(bytes: 1025, limit: 1024)) { try reader.next() }
    }
}
