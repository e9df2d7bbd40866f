import Foundation

/// Files named on the command line, with the system's reason when one can't be had.
enum Files {
    static func read(_ path: String) throws(FileFailure) -> [UInt8] {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw FileFailure(text: self.openFailure(path))
        }
        return Array(bytes)
    }

    static func standardInput() -> [UInt8] { Array(FileHandle.standardInput.readDataToEndOfFile()) }

    static func isFolder(_ path: String) -> Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }

    /// Why `path` can't be read, as Go says it.
    static func openFailure(_ path: String) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        if file >= 0 {
            close(file)
            return "read \(path): is a directory"
        }
        return "open \(path): \(String(cString: strerror(errno)).lowercased())"
    }
}

struct FileFailure: Error {
    var text: String
}
