import Raft
import Units

/// What a simulated client asks for. Keys are numbers; values are unique within a run, so that one read names one write.
struct ClientRequest {
    enum Kind: UInt8 { case get, staleGet, put, delete, cas, deleteCAS }

    var client: Int
    /// Numbers the client's writes from 1; a retry carries the same one.
    var sequence: UInt64
    var kind: Kind
    var key: Int
    var value: UInt64 = 0
    var expectedIndex: UInt64 = 0
    /// From level 1 on: written in a transaction, together with a second key that is to hold the same value.
    var isTransaction = false
    /// Level 2: the client does not number it, and asks once.
    var isUnnumbered = false
    /// Level 2: of several ways to ask the same.
    var variant = 0

    var isRead: Bool { self.kind == .get || self.kind == .staleGet }
}

enum ClientResult: Equatable {
    /// A write's yes or no, and the log index it was applied at; 0 when the answer does not tell.
    case written(Bool, index: UInt64)
    /// What a read found in the state at `applied`: nil for a missing key. At level 2 `applied` is the index that the answer
    /// names: the key is the same at all later ones, up to that of the server.
    case found(UInt64?, modifyIndex: UInt64, applied: UInt64)
    /// Certainly not done.
    case refused(leader: NodeID?)
    /// May be done, may still be done.
    case uncertain
}

/// What an operator asks of a leader.
enum AdminRequest {
    case change(MembershipChange)
    case transfer(NodeID?)
}

/// One server in the world. The world calls in with what is due; the node calls the world back to send, to answer and
/// to be woken. Two kinds exist: the Raft core on a toy disk, and the whole replica on real storage, at level 2 with a server
/// around it.
protocol SimulatedNode: AnyObject {
    var slot: Int { get }
    var id: NodeID { get }
    /// Rises with each crash; events of an older epoch mean nothing.
    var epoch: Int { get }
    var isUp: Bool { get }

    /// Writes the first configuration to an empty disk, before the first start.
    func found(_ configuration: Configuration)
    /// Boots from what the disk holds.
    func start()
    /// Loses memory, and of what was on its way to the disk all but a prefix.
    func crash()
    /// After this many more directives it crashes, in the middle of obeying them.
    func crashAfter(directives: Int)
    /// A fresh data directory under a new identity.
    func wipe(newID: NodeID)
    /// Loses the newest entries from its disk, which knows that it once promised more. Only while down.
    func loseTail(entries: Int)

    func tick()
    func wake()
    func diskDone(ticket: Int)
    /// Work that hangs on a slow disk is done soon.
    func hurryDisk()
    func later(_ work: Int)
    func receive(_ message: Message, frame: [UInt8], from slot: Int)
    func submit(_ request: ClientRequest, attempt: Int)
    /// Proposes this many writes at once, which nobody waits for.
    func load(_ count: Int)
    func administer(_ request: AdminRequest, token: UInt64)
    func snapshotNow()
    func diskFull(_ full: Bool)
    /// Disk work costs this many times as much.
    var diskFactor: UInt64 { get set }

    var status: NodeStatus { get }
    var appliedIndex: UInt64 { get }
    var configuration: Configuration { get }
    func isCaughtUp(_ id: NodeID) -> Bool
    /// Whether the state holds at least what it should after everything was applied; nil hash while down.
    var stateHash: UInt64? { get }
}
