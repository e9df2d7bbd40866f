extension KVRegister {
    public typealias Operation = HistoryOperation<Input, Output>

    private struct Identity: Hashable {
        var key: String
        var value: String
    }

    /// A value that only one operation can have written, and that was read, was written by it, and the index that was
    /// read is the one that the write got.
    public func inferred(_ operations: [Operation]) -> [Operation] {
        var writers: [Identity: [Int]] = [:]
        var indexes: [Identity: UInt64] = [:]
        for (position, operation) in operations.enumerated() {
            switch (operation.input, operation.output) {
            case (.put(let value), _), (.cas(_, let value), nil), (.cas(_, let value), .done(true, _)):
                writers[Identity(key: operation.key, value: value), default: []].append(position)
            case (.get, .value(let value?, let index)):
                let identity = Identity(key: operation.key, value: value)
                // Of reads that differ any will do: no order can satisfy both.
                indexes[identity] = indexes[identity, default: 0] == 0 ? index : indexes[identity]
            case (.get, _), (.cas, _), (.delete, _), (.deleteCAS, _): break
            }
        }
        var result = operations
        for (identity, index) in indexes {
            guard let writer = writers[identity], writer.count == 1 else { continue }
            let position = writer[0]
            if case .done(_, let known?) = result[position].output, known != 0 { continue }
            result[position].output = .done(true, index: index == 0 ? nil : index)
            result[position].returned = result[position].returned ?? .max
        }
        return result
    }

    /// The index that a write got, or that a read found: a key's ModifyIndex never goes down.
    public func rank(_ operation: Operation) -> UInt64? {
        switch (operation.input, operation.output) {
        case (.put, .done(true, let index)), (.cas, .done(true, let index)): index
        case (.get, .value(.some, let index)): index == 0 ? nil : index
        case (.get, _), (.put, _), (.cas, _), (.delete, _), (.deleteCAS, _): nil
        }
    }

    public func mayReach(_ rank: UInt64, from state: State) -> Bool {
        state.isExact ? rank >= state.floor : rank > state.floor
    }
}
