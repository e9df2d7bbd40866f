/// Reads that may be stale: over one connection to one server, what they show never steps back.
///
/// A key's ModifyIndex rises with each write of it, so a lower one than before is an older state; and so is the same one
/// after the key had been found missing, since a key that comes again has a new index. An answer that carries no index (a
/// name's address) has that of its value, as far as another read has told it.
enum StaleReadChecker {
    static func finding(_ records: [HistoryRecord]) -> Finding {
        let promise = "stale reads never step back on one connection"
        let reads = records.filter { $0.kind == .staleGet && $0.returned != nil }.sorted { $0.call < $1.call }
        let indexes = indexesByValue(records)
        var last: [Place: (index: UInt64, value: String, wasMissing: Bool)] = [:]
        for read in reads {
            let place = Place(view: read.view ?? "", key: read.key)
            guard let value = read.result else {
                last[place]?.wasMissing = true
                continue
            }
            guard let index = read.resultIndex ?? indexes[value] else { continue }
            if let earlier = last[place] {
                let stepsBack = index < earlier.index || index == earlier.index && earlier.wasMissing
                if stepsBack || index == earlier.index && value != earlier.value {
                    return Finding(
                        promise, examined: reads.count,
                        .violated(
                            "\(place.view): \(read.key) was \(earlier.value) (index \(earlier.index))"
                                + "\(earlier.wasMissing ? ", then missing" : ""), then \(value) (index \(index))"))
                }
            }
            last[place] = (index, value, false)
        }
        return Finding(promise, examined: reads.count, .holds)
    }

    private struct Place: Hashable {
        var view: String
        var key: String
    }
}

/// The index of each write, by the value that it wrote: every written value is its own, and reads tell both.
private func indexesByValue(_ records: [HistoryRecord]) -> [String: UInt64] {
    var indexes: [String: UInt64] = [:]
    for record in records {
        guard record.kind == .get || record.kind == .staleGet || record.kind == .watch else { continue }
        if let value = record.result, let index = record.resultIndex { indexes[value] = index }
    }
    return indexes
}

/// A session that depends on nothing but its TTL lives at least that long after each renewal, whoever leads and whatever
/// the wall clocks say.
enum SessionChecker {
    static func finding(_ records: [HistoryRecord]) -> Finding {
        let promise = "sessions live as long as they are renewed"
        let lost = records.filter { $0.kind == .sessionLost && $0.returned != nil }
        for session in lost {
            let ttl = session.index ?? 0
            let lived = (session.returned ?? 0) - min(session.call, session.returned ?? 0)
            guard lived < ttl else { continue }
            return Finding(
                promise, examined: lost.count,
                .violated(
                    "session \(session.key) was gone \(lived / 1_000_000) ms after it was renewed, its TTL is "
                        + "\(ttl / 1_000_000) ms"))
        }
        return Finding(promise, examined: lost.count, .holds)
    }
}

/// Blocking queries: an index never steps back, and a change to the key ends the wait soon after it was acknowledged.
///
/// Which write got which index is known from reads, since every written value is its own. Watches during a fault and a
/// while after it are not held to the time: their server may have been cut off.
struct WatchChecker {
    var grace: UInt64
    var recovery: UInt64

    func finding(_ records: [HistoryRecord]) -> Finding {
        let promise = "a watch sees each change, and soon"
        let watches = records.filter { $0.kind == .watch && $0.returned != nil }
        guard !watches.isEmpty else { return Finding(promise, examined: 0, .holds) }
        let changes = self.changes(records)
        let faults = records.filter { $0.kind == .fault }
        for watch in watches {
            if let seen = watch.seenIndex, let asked = watch.index, seen < asked {
                return Finding(
                    promise, examined: watches.count,
                    .violated("\(watch.view ?? ""): \(watch.key) after \(asked) was answered with index \(seen)"))
            }
            guard !faults.contains(where: { self.disturbs($0, watch) }) else { continue }
            if let missed = self.missed(watch, changes[watch.key] ?? []) {
                return Finding(promise, examined: watches.count, .violated(missed))
            }
        }
        return Finding(promise, examined: watches.count, .holds)
    }

    private struct Change {
        var index: UInt64
        var acknowledged: UInt64
    }

    private func changes(_ records: [HistoryRecord]) -> [String: [Change]] {
        let indexes = indexesByValue(records)
        var changes: [String: [Change]] = [:]
        for record in records where record.ok == true && (record.kind == .put || record.kind == .cas) {
            guard let returned = record.returned, let index = record.value.flatMap({ indexes[$0] }) else { continue }
            changes[record.key, default: []].append(Change(index: index, acknowledged: returned))
        }
        return changes
    }

    private func disturbs(_ fault: HistoryRecord, _ watch: HistoryRecord) -> Bool {
        guard let returned = watch.returned else { return true }
        let (end, overflowed) = (fault.returned ?? .max).addingReportingOverflow(self.recovery)
        return fault.call <= returned && watch.call <= (overflowed ? .max : end)
    }

    private func missed(_ watch: HistoryRecord, _ changes: [Change]) -> String? {
        guard let asked = watch.index, asked > 0, let returned = watch.returned else { return nil }
        for change in changes where change.index > asked {
            let due = max(change.acknowledged, watch.call)
            if returned > due, returned - due > self.grace {
                return "\(watch.view ?? ""): \(watch.key) after \(asked) came \((returned - due) / 1_000_000) ms "
                    + "after the write at \(change.index)"
            }
        }
        return nil
    }
}
