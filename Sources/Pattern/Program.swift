/// A pattern as instructions for the searches.
struct Program: Sendable {
    enum Instruction: Sendable {
        case scalar(UInt32)
        case any
        case anyButNewline
        /// In `classes`.
        case oneOf(Int)
        case assertion(Assertion)
        /// The first is preferred.
        case split(Int, Int)
        case jump(Int)
        case save(Int)
        case match
    }

    var instructions: [Instruction] = []
    var classes: [ScalarClass] = []
    var slots = 2

    /// Whether an instruction that takes a scalar takes this one.
    func takes(_ scalar: Unicode.Scalar, at position: Int) -> Bool {
        switch self.instructions[position] {
        case .scalar(let value): value == scalar.value
        case .any: true
        case .anyButNewline: scalar != "\n"
        case .oneOf(let index): self.classes[index].contains(scalar)
        case .assertion, .split, .jump, .save, .match: false
        }
    }
}

struct PatternCompiler {
    struct TooLarge: Error {}

    private var program = Program()

    /// The whole match is saved in slots 0 and 1, group `n` in `2n` and `2n + 1`.
    mutating func compile(_ node: PatternNode, groups: Int) throws(TooLarge) -> Program {
        self.program.slots = 2 * (groups + 1)
        try self.append(.save(0))
        try self.emit(node)
        try self.append(.save(1))
        try self.append(.match)
        return self.program
    }

    private mutating func append(_ instruction: Program.Instruction) throws(TooLarge) {
        guard self.program.instructions.count < Pattern.Limit.instructions else { throw TooLarge() }
        self.program.instructions.append(instruction)
    }

    private var next: Int { self.program.instructions.count }

    private mutating func emit(_ node: PatternNode) throws(TooLarge) {
        switch node {
        case .empty: break
        case .scalar(let value): try self.append(.scalar(value))
        case .any: try self.append(.any)
        case .anyButNewline: try self.append(.anyButNewline)
        case .oneOf(let set):
            let index = self.program.classes.firstIndex(of: set) ?? self.program.classes.count
            if index == self.program.classes.count { self.program.classes.append(set) }
            try self.append(.oneOf(index))
        case .assertion(let assertion): try self.append(.assertion(assertion))
        case .group(let inner, let index):
            try self.append(.save(2 * index))
            try self.emit(inner)
            try self.append(.save(2 * index + 1))
        case .sequence(let nodes): for node in nodes { try self.emit(node) }
        case .alternatives(let nodes): try self.emit(alternatives: nodes)
        case .repetition(let inner, let least, let most, let isGreedy):
            if case .empty = inner { return }
            for _ in 0..<least { try self.emit(inner) }
            if let most {
                try self.emit(optional: inner, times: most - least, isGreedy)
            } else {
                try self.emit(endless: inner, isGreedy)
            }
        }
    }

    private mutating func emit(alternatives nodes: [PatternNode]) throws(TooLarge) {
        var jumps: [Int] = []
        for node in nodes.dropLast() {
            let split = self.next
            try self.append(.split(split + 1, 0))
            try self.emit(node)
            jumps.append(self.next)
            try self.append(.jump(0))
            self.program.instructions[split] = .split(split + 1, self.next)
        }
        if let last = nodes.last { try self.emit(last) }
        for jump in jumps { self.program.instructions[jump] = .jump(self.next) }
    }

    private mutating func emit(endless node: PatternNode, _ isGreedy: Bool) throws(TooLarge) {
        let split = self.next
        try self.append(.split(0, 0))
        try self.emit(node)
        try self.append(.jump(split))
        self.branch(split, isGreedy)
    }

    /// Each may only follow the one before, so that their splits all lead to the end.
    private mutating func emit(optional node: PatternNode, times: Int, _ isGreedy: Bool) throws(TooLarge) {
        var splits: [Int] = []
        for _ in 0..<max(times, 0) {
            splits.append(self.next)
            try self.append(.split(0, 0))
            try self.emit(node)
        }
        for split in splits { self.branch(split, isGreedy) }
    }

    private mutating func branch(_ split: Int, _ isGreedy: Bool) {
        let end = self.next
        self.program.instructions[split] = isGreedy ? .split(split + 1, end) : .split(end, split + 1)
    }
}
