import Glibc

/// How this process takes memory from the system.
enum Memory {
    /// glibc grows the arena of a thread by a page or two at a time, with a system call each, and gives pages back as
    /// eagerly: under load that is a call for every seventh write. In steps of a mebibyte it is none to speak of. What is
    /// not touched stays unused.
    static func prepare() {
        // <malloc.h> is not part of Swift's Glibc module, so that the function is looked up by its name.
        guard let symbol = dlsym(nil, "mallopt") else { return }
        let mallopt = unsafeBitCast(symbol, to: (@convention(c) (CInt, CInt) -> CInt).self)
        _ = mallopt(self.topPad, 1 << 20)
        _ = mallopt(self.trimThreshold, 8 << 20)
    }

    /// M_TOP_PAD and M_TRIM_THRESHOLD of mallopt(3).
    private static let topPad: CInt = -2
    private static let trimThreshold: CInt = -1
}
