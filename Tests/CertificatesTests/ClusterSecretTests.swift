import Certificates
import Testing
import Units

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite struct ClusterSecretTests {
    @Test func aSavedSecretComesBackAndOnlyItsOwnerCanReadIt() throws {
        let scratch = try Scratch()
        let secret = ClusterSecret.generate(now: start)
        try secret.save(to: "\(scratch.path)/cluster.key")
        #expect(try scratch.mode("cluster.key") == 0o600)
        #expect(try ClusterSecret.load(from: "\(scratch.path)/cluster.key") == secret)
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["cluster.key"])
    }

    @Test func savingAgainReplacesTheFile() throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/cluster.key"
        try ClusterSecret.generate(now: start).save(to: path)
        let second = ClusterSecret.generate(now: start)
        try second.save(to: path)
        #expect(try ClusterSecret.load(from: path) == second)
    }

    @Test(arguments: [0o640, 0o604, 0o620, 0o644, 0o666, 0o601])
    func aFileThatOthersCanReachIsRefused(mode: Int) throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/cluster.key"
        try ClusterSecret.generate(now: start).save(to: path)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        let octal = "0" + String(mode, radix: 8)
        #expect(failure { _ = try ClusterSecret.load(from: path) } == .filePermissions(path: path, mode: octal))
    }

    @Test func aNarrowerModeIsAccepted() throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/cluster.key"
        let secret = ClusterSecret.generate(now: start)
        try secret.save(to: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: path)
        #expect(try ClusterSecret.load(from: path) == secret)
    }

    @Test func aMissingFileIsNamed() throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/cluster.key"
        #expect(failure { _ = try ClusterSecret.load(from: path) } == .fileMissing(path: path))
    }

    @Test func everyChangedByteOfTheFileIsNoticed() throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/cluster.key"
        try ClusterSecret.generate(now: start).save(to: path)
        let good = try Data(contentsOf: URL(filePath: path))
        for position in good.indices {
            var bad = good
            bad[position] ^= 0x01
            try bad.write(to: URL(filePath: path))
            let error = failure { _ = try ClusterSecret.load(from: path) }
            guard case .fileDamaged = error else {
                Issue.record("byte \(position): \(String(describing: error))")
                continue
            }
        }
    }

    @Test func everyShortenedFileIsNoticed() throws {
        let scratch = try Scratch()
        let path = "\(scratch.path)/cluster.key"
        try ClusterSecret.generate(now: start).save(to: path)
        let good = try Data(contentsOf: URL(filePath: path))
        for count in 0..<good.count {
            try good.prefix(count).write(to: URL(filePath: path))
            let error = failure { _ = try ClusterSecret.load(from: path) }
            guard case .fileDamaged = error else {
                Issue.record("\(count) bytes: \(String(describing: error))")
                continue
            }
        }
    }

    @Test func aSymbolicDirectoryIsNotReadAsAFile() throws {
        let scratch = try Scratch()
        let error = failure { _ = try ClusterSecret.load(from: scratch.path) }
        #expect(error == .file(path: scratch.path, reason: "not a regular file"))
    }

    @Test func twoClustersShareNothing() throws {
        let first = ClusterSecret.generate(now: start)
        let second = ClusterSecret.generate(now: start)
        #expect(first.clusterID != second.clusterID)
        #expect(first != second)
        #expect(try CertificateAuthority(first).pin != CertificateAuthority(second).pin)
    }

    @Test func aClusterIDIsAVersion4UUIDInLowerCase() {
        for _ in 0..<100 {
            let characters = Array(ClusterSecret.generate(now: start).clusterID)
            #expect(characters.count == 36)
            #expect(characters[14] == "4")
            #expect("89ab".contains(characters[19]))
            #expect(characters.allSatisfy { "0123456789abcdef-".contains($0) })
        }
    }
}

@Suite struct SealerTests {
    @Test func whatWasSealedOpensInItsContextOnly() throws {
        let sealer = Sealer(ClusterSecret.generate(now: start))
        let sealed = try sealer.seal([1, 2, 3], context: "acl-token/1")
        #expect(try sealer.open(sealed, context: "acl-token/1") == [1, 2, 3])
        #expect(throws: CertificatesError.self) { try sealer.open(sealed, context: "acl-token/2") }
        #expect(throws: CertificatesError.self) {
            try Sealer(ClusterSecret.generate(now: start)).open(sealed, context: "acl-token/1")
        }
    }

    @Test func everyServerOpensWhatAnotherSealed() throws {
        let scratch = try Scratch()
        let secret = ClusterSecret.generate(now: start)
        try secret.save(to: "\(scratch.path)/k")
        let other = try ClusterSecret.load(from: "\(scratch.path)/k")
        let sealed = try Sealer(secret).seal(Array("secret".utf8), context: "c")
        #expect(try Sealer(other).open(sealed, context: "c") == Array("secret".utf8))
    }

    @Test func everyChangedOrMissingByteIsNoticed() throws {
        let sealer = Sealer(ClusterSecret.generate(now: start))
        let sealed = try sealer.seal(Array(0..<40), context: "c")
        for position in sealed.indices {
            var changed = sealed
            changed[position] ^= 0x80
            #expect(throws: CertificatesError.self) { try sealer.open(changed, context: "c") }
            #expect(throws: CertificatesError.self) { try sealer.open(Array(sealed.prefix(position)), context: "c") }
        }
    }

    @Test func sealingTwiceGivesDifferentBytes() throws {
        let sealer = Sealer(ClusterSecret.generate(now: start))
        #expect(try sealer.seal([1], context: "c") != sealer.seal([1], context: "c"))
    }

    @Test func nothingCanBeSealedToo() throws {
        let sealer = Sealer(ClusterSecret.generate(now: start))
        #expect(try sealer.open(sealer.seal([], context: ""), context: "") == [])
    }
}
