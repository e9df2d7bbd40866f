/// Holds in release builds too: a broken invariant ends the process with the state that broke it, since a server that
/// goes on after one may lose an acknowledged write. For what our own code promises; never for outside input.
@inlinable
public func invariant(
    _ condition: @autoclosure () -> Bool,
    _ state: @autoclosure () -> String,
    file: StaticString = #fileID,
    line: UInt = #line
) {
    if !condition() {
        invariantBroken(state(), file: file, line: line)
    }
}

@usableFromInline
func invariantBroken(_ state: String, file: StaticString, line: UInt) -> Never {
    fatalError("invariant broken at \(file):\(line): \(state)")
}
