import Foundation
import NIOSSL

/// What an https connection to an agent is checked with, and what it shows.
struct TLSFiles: Sendable {
    var caFile: String?
    var caPath: String?
    var certificate: String?
    var key: String?
    /// The name that the agent's certificate must have, where it isn't the one that was connected to.
    var serverName: String?
    var verify: Bool

    func configuration() throws -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        if let roots = try self.roots() { tls.trustRoots = .certificates(roots) }
        if let certificate, let key {
            do {
                tls.certificateChain = try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) }
                tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
            } catch {
                throw CommandFailure(
                    "Error connecting to agent: -client-cert \(certificate) and -client-key \(key) can't be used: \(error)"
                )
            }
        } else if self.certificate != nil || self.key != nil {
            throw CommandFailure(
                "Error connecting to agent: -client-cert and -client-key belong together: give both or neither")
        }
        if !self.verify { tls.certificateVerification = .none }
        return tls
    }

    private func roots() throws -> [NIOSSLCertificate]? {
        if let caFile { return try Self.certificates(caFile, "CA File") }
        guard let caPath else { return nil }
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: caPath) else {
            throw CommandFailure("Error connecting to agent: Error loading CA path: \(Files.openFailure(caPath))")
        }
        let files = names.sorted().map { caPath + "/" + $0 }.filter { !Files.isFolder($0) }
        let found = try files.flatMap { try Self.certificates($0, "CA path") }
        if found.isEmpty { throw CommandFailure("Error connecting to agent: no CA certificate in \(caPath)") }
        return found
    }

    private static func certificates(_ path: String, _ what: String) throws -> [NIOSSLCertificate] {
        do throws(FileFailure) {
            _ = try Files.read(path)
        } catch {
            throw CommandFailure("Error connecting to agent: Error loading \(what): \(error.text)")
        }
        do {
            return try NIOSSLCertificate.fromPEMFile(path)
        } catch {
            throw CommandFailure("Error connecting to agent: Error loading \(what): \(path) holds no certificate")
        }
    }
}
