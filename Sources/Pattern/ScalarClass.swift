/// A set of Unicode scalars, as a character class says it.
struct ScalarClass: Sendable, Equatable {
    /// General categories as a bit set, or all others.
    struct Categories: Sendable, Equatable {
        var bits: UInt32
        var isInverted = false

        func contains(_ scalar: Unicode.Scalar) -> Bool {
            (self.bits & categoryBit(scalar.properties.generalCategory) != 0) != self.isInverted
        }
    }

    var ranges: [ClosedRange<UInt32>] = []
    var categories: [Categories] = []
    var isNegated = false
    /// A scalar is in it when it is, in either case.
    var folds = false

    func contains(_ scalar: Unicode.Scalar) -> Bool {
        var isIn = self.holds(scalar)
        if !isIn && self.folds {
            isIn =
                single(scalar.properties.lowercaseMapping).map(self.holds) ?? false
                || single(scalar.properties.uppercaseMapping).map(self.holds) ?? false
        }
        return isIn != self.isNegated
    }

    private func holds(_ scalar: Unicode.Scalar) -> Bool {
        self.ranges.contains { $0.contains(scalar.value) } || self.categories.contains { $0.contains(scalar) }
    }

    mutating func insert(_ other: [ClosedRange<UInt32>], inverted: Bool) {
        guard inverted else { return self.ranges += other }
        var next: UInt32 = 0
        for range in other.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if range.lowerBound > next { self.ranges.append(next...(range.lowerBound - 1)) }
            next = max(next, range.upperBound + 1)
        }
        if next <= 0x10FFFF { self.ranges.append(next...0x10FFFF) }
    }
}

private func single(_ mapping: String) -> Unicode.Scalar? {
    mapping.unicodeScalars.count == 1 ? mapping.unicodeScalars.first : nil
}

func ascii(_ ranges: (Character, Character)...) -> [ClosedRange<UInt32>] {
    ranges.compactMap { low, high in
        guard let low = low.asciiValue, let high = high.asciiValue, low <= high else { return nil }
        return UInt32(low)...UInt32(high)
    }
}

let digitRanges = ascii(("0", "9"))
let spaceRanges = ascii(("\t", "\n"), ("\u{0C}", "\r"), (" ", " "))
let wordRanges = ascii(("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))

/// The names inside `[[:alpha:]]`.
func posixRanges(_ name: String) -> [ClosedRange<UInt32>]? {
    switch name {
    case "alnum": ascii(("0", "9"), ("A", "Z"), ("a", "z"))
    case "alpha": ascii(("A", "Z"), ("a", "z"))
    case "ascii": [0...0x7F]
    case "blank": ascii(("\t", "\t"), (" ", " "))
    case "cntrl": [0...0x1F, 0x7F...0x7F]
    case "digit": digitRanges
    case "graph": ascii(("!", "~"))
    case "lower": ascii(("a", "z"))
    case "print": ascii((" ", "~"))
    case "punct": ascii(("!", "/"), (":", "@"), ("[", "`"), ("{", "~"))
    case "space": [0x09...0x0D, 0x20...0x20]
    case "upper": ascii(("A", "Z"))
    case "word": wordRanges
    case "xdigit": ascii(("0", "9"), ("A", "F"), ("a", "f"))
    default: nil
    }
}

private let categoryOrder: [(name: String, category: Unicode.GeneralCategory)] = [
    ("Lu", .uppercaseLetter), ("Ll", .lowercaseLetter), ("Lt", .titlecaseLetter), ("Lm", .modifierLetter),
    ("Lo", .otherLetter), ("Mn", .nonspacingMark), ("Mc", .spacingMark), ("Me", .enclosingMark),
    ("Nd", .decimalNumber), ("Nl", .letterNumber), ("No", .otherNumber), ("Pc", .connectorPunctuation),
    ("Pd", .dashPunctuation), ("Ps", .openPunctuation), ("Pe", .closePunctuation), ("Pi", .initialPunctuation),
    ("Pf", .finalPunctuation), ("Po", .otherPunctuation), ("Sm", .mathSymbol), ("Sc", .currencySymbol),
    ("Sk", .modifierSymbol), ("So", .otherSymbol), ("Zs", .spaceSeparator), ("Zl", .lineSeparator),
    ("Zp", .paragraphSeparator), ("Cc", .control), ("Cf", .format), ("Cs", .surrogate), ("Co", .privateUse),
]

func categoryBit(_ category: Unicode.GeneralCategory) -> UInt32 {
    categoryOrder.firstIndex { $0.category == category }.map { 1 << UInt32($0) } ?? 0
}

/// "L" stands for every category whose name begins so; "Any" for all.
func categoryBits(_ name: String) -> UInt32? {
    if name == "Any" { return .max }
    var bits: UInt32 = 0
    for (position, entry) in categoryOrder.enumerated() where entry.name == name || entry.name.prefix(1) == name {
        bits |= 1 << UInt32(position)
    }
    return bits == 0 ? nil : bits
}
