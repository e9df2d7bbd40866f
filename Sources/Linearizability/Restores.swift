/// Backups that were restored while clients worked: what happened between the backup's beginning and the end of its
/// restoring is gone by intent, wholly or in part.
struct Restores {
    private let spans: [ClosedRange<UInt64>]

    init(_ records: [HistoryRecord]) {
        self.spans = records.compactMap { record in
            guard record.kind == .restore, let returned = record.returned, returned >= record.call else { return nil }
            return record.call...returned
        }
    }

    /// The history as the promises hold for it. Keys, locks and views that were in use across a restoring are left out;
    /// what an append or a count in that time has left is unknown.
    func judged(_ records: [HistoryRecord]) -> [HistoryRecord] {
        if self.spans.isEmpty { return records }
        var touched: Set<String> = []
        for record in records where self.overlaps(record) { touched.insert(self.scope(record)) }
        return records.compactMap { record in
            switch record.kind {
            case .append, .count:
                guard self.overlaps(record) else { return record }
                var unknown = record
                unknown.returned = nil
                unknown.ok = nil
                return unknown
            case .survey, .total, .fault, .restore: return record
            default: return touched.contains(self.scope(record)) ? nil : record
            }
        }
    }

    private func scope(_ record: HistoryRecord) -> String {
        record.kind == .staleGet ? "view \(record.view ?? "")" : "key \(record.key)"
    }

    /// One that nobody saw the end of may still have been under way.
    private func overlaps(_ record: HistoryRecord) -> Bool {
        self.spans.contains { record.call <= $0.upperBound && (record.returned ?? .max) >= $0.lowerBound }
    }
}
