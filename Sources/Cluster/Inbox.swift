import Glibc
import Units

/// A bounded queue into one thread: many post, one takes everything at once. One wake-up per batch.
// Sendable by the mutex: `items`, `closed` and `sleeping` are touched only while it is held.
package final class Inbox<Item: Sendable>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var items: [Item] = []
    private var closed = false
    private var sleeping = false
    private let limit: Int

    package init(limit: Int) {
        self.limit = limit
        self.mutex = .allocate(capacity: 1)
        self.condition = .allocate(capacity: 1)
        pthread_mutex_init(self.mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(self.condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(self.condition)
        pthread_mutex_destroy(self.mutex)
        self.condition.deallocate()
        self.mutex.deallocate()
    }

    /// False when the queue is full or closed; the item was not taken.
    /// - Parameters:
    ///   - always: what a lower room must be able to report back (a finished write) passes the bound, since its number
    ///     is bounded where it was asked for.
    ///   - wakes: false when the caller calls `wake` once it has posted all it has.
    @discardableResult
    package func post(_ item: Item, always: Bool = false, wakes: Bool = true) -> Bool {
        pthread_mutex_lock(self.mutex)
        guard !self.closed, always || self.items.count < self.limit else {
            pthread_mutex_unlock(self.mutex)
            return false
        }
        self.items.append(item)
        let wake = wakes && self.sleeping
        if wake { self.sleeping = false }
        pthread_mutex_unlock(self.mutex)
        if wake { pthread_cond_signal(self.condition) }
        return true
    }

    /// Wakes the thread if it sleeps over what was posted.
    package func wake() {
        pthread_mutex_lock(self.mutex)
        let wake = self.sleeping && !self.items.isEmpty
        if wake { self.sleeping = false }
        pthread_mutex_unlock(self.mutex)
        if wake { pthread_cond_signal(self.condition) }
    }

    /// Everything that was posted, in order; empty when `timeout` passed first; nil once closed and drained.
    package func take(timeout: Nanoseconds) -> [Item]? {
        pthread_mutex_lock(self.mutex)
        if self.items.isEmpty, !self.closed, timeout > .zero {
            var until = timespec()
            clock_gettime(CLOCK_MONOTONIC, &until)
            let nanoseconds = UInt64(until.tv_nsec) + timeout.rawValue
            until.tv_sec += Int(nanoseconds / 1_000_000_000)
            until.tv_nsec = Int(nanoseconds % 1_000_000_000)
            self.sleeping = true
            while self.items.isEmpty, !self.closed, self.sleeping {
                if pthread_cond_timedwait(self.condition, self.mutex, &until) == ETIMEDOUT { break }
            }
            self.sleeping = false
        }
        let taken = self.items
        self.items = []
        let ended = taken.isEmpty && self.closed
        pthread_mutex_unlock(self.mutex)
        return ended ? nil : taken
    }

    package var isClosed: Bool {
        pthread_mutex_lock(self.mutex)
        defer { pthread_mutex_unlock(self.mutex) }
        return self.closed
    }

    /// Empty and open again, after `close`.
    package func reopen() {
        pthread_mutex_lock(self.mutex)
        self.items = []
        self.closed = false
        pthread_mutex_unlock(self.mutex)
    }

    package func close() {
        pthread_mutex_lock(self.mutex)
        self.closed = true
        self.sleeping = false
        pthread_mutex_unlock(self.mutex)
        pthread_cond_signal(self.condition)
    }
}

/// Starts a thread with a name that shows in `top -H`. Blocking work stays off Swift's cooperative pool.
package final class WorkerThread: Sendable {
    private let finished = Inbox<Bool>(limit: 1)

    package init(name: String, _ body: @escaping @Sendable () -> Void) {
        let finished = self.finished
        let start = ThreadStart {
            Self.setName(name)
            body()
            finished.close()
        }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, Unmanaged.passRetained(start).toOpaque())
        pthread_attr_destroy(&attributes)
        invariant(result == 0, "pthread_create failed with \(result)")
    }

    /// The calling thread's, up to 15 bytes; glibc's own call is hidden from Swift.
    private static func setName(_ name: String) {
        let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        let bytes = Array(name.utf8.prefix(15))
        _ = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        close(file)
    }

    /// Waits for the thread's end.
    package func join(timeout: Nanoseconds) {
        let slices = max(1, timeout.rawValue / 10_000_000)
        for _ in 0..<slices where self.finished.take(timeout: .milliseconds(10)) == nil { return }
    }
}

private final class ThreadStart: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// The process's clocks: the one place that reads them for the rooms above.
package enum SystemClock {
    /// CLOCK_MONOTONIC: unaffected by jumps of the wall clock.
    package static func now() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// Nanoseconds since 1970.
    package static func wallTime() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
