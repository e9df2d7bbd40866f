import ArgumentParser
import Histogram
import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// What the disk itself can do: append a block, fdatasync, again. Every figure for writes is to be read beside this one.
struct Fsync: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fsync", abstract: "Measures fdatasync after appends of one block.")

    @Option(help: "Folder on the disk to measure.") var dir = "."
    @Option(help: "Seconds.") var seconds = 3
    @Option(help: "Bytes appended before each fdatasync.") var bytes = 4096
    @Option(help: "text or json.") var format: ReportFormat = .text

    func validate() throws {
        if !(1...3600).contains(self.seconds) { throw ValidationError("--seconds must be from 1 to 3600") }
        if !(1...1_048_576).contains(self.bytes) { throw ValidationError("--bytes must be from 1 to 1048576") }
    }

    func run() throws {
        let path = self.dir + "/load-fsync.\(getpid())"
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
        defer {
            close(file)
            unlink(path)
        }
        var latency = Histogram<UInt64>(
            highestTrackableValue: 100_000_000_000, numberOfSignificantValueDigits: .three)
        let block = [UInt8](repeating: 0x5A, count: self.bytes)
        let begun = NIODeadline.now()
        while NIODeadline.now() - begun < .seconds(Int64(self.seconds)) {
            let start = NIODeadline.now()
            guard write(file, block, block.count) == block.count, fdatasync(file) == 0 else {
                throw ValidationError("\(path): \(String(cString: strerror(errno)))")
            }
            _ = latency.record(UInt64(max(1, (NIODeadline.now() - start).nanoseconds)))
        }
        let elapsed = Double((NIODeadline.now() - begun).nanoseconds) / 1e9
        let rate = Int(Double(latency.totalCount) / elapsed)
        let median = latency.valueAtPercentile(50) / 1000
        let high = latency.valueAtPercentile(99) / 1000
        switch self.format {
        case .text:
            print("fdatasync: \(rate)/s, p50 \(median) us, p99 \(high) us (\(self.bytes) bytes appended before each)")
        case .json:
            print("{\"fdatasync_per_second\": \(rate), \"p50_us\": \(median), \"p99_us\": \(high)}")
        }
    }
}
