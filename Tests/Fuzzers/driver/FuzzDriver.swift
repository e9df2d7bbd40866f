/// Hands a check over to libFuzzer, which calls it with one input after another until its time is up.
package enum FuzzDriver {
    // Set once, before libFuzzer begins; it runs on one thread.
    fileprivate nonisolated(unsafe) static var check: ([UInt8]) -> Void = { _ in }

    /// - Parameter check: traps on what must not be; returns for every other input.
    package static func run(_ check: @escaping ([UInt8]) -> Void) {
        self.check = check
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        _ = runDriver(&count, &arguments, fuzzOneInput)
    }
}

/// libFuzzer's own `main`, which is linked too, asks for this name.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    FuzzDriver.check(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt
