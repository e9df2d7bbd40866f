import ArgumentParser
import Foundation

struct RTTCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rtt", abstract: "Estimates the round trip time between two nodes",
        usage: "\(Serai.programName) rtt [flags] NODE [NODE]",
        discussion: """
            The second node is the agent's own by default. With -wan nodes are servers, written NAME.DATACENTER. The \
            estimate comes from network coordinates; without any of a node there is none.
            """)
    @OptionGroup(title: "HTTP API") var api: APIOptions
    @Flag(name: .customLong("wan"), help: "Between servers of different datacenters.") var wan = false
    @Argument(help: "One or two nodes' names.") var nodes: [String] = []

    func run() async throws {
        guard (1...2).contains(self.nodes.count) else {
            throw CommandFailure("One or two node names must be specified")
        }
        let client = try self.api.client()
        let (first, second, seconds) =
            self.wan ? try await self.betweenDatacenters(client) : try await self.within(client)
        let text = String(format: "%.3f", seconds * 1000)
        let kind = self.wan ? "WAN" : "LAN"
        if self.api.format == .json {
            return Output.line(
                try JSONText.of(["Node": first, "Other": second, "Milliseconds": text, "Coordinates": kind]))
        }
        Output.line("Estimated \(first) <-> \(second) rtt: \(text) ms (using \(kind) coordinates)")
    }

    private func within(_ client: APIClient) async throws -> (String, String, Double) {
        let other: String
        if self.nodes.count == 2 { other = self.nodes[1] } else { other = try await Self.ownName(client).name }
        let answer = try await client.demand(.GET, "/v1/coordinate/nodes", failing: "Error getting coordinates")
        let rows = try answer.decoded([CoordinateRow].self)
        func coordinate(_ name: String) throws -> NetworkCoordinate {
            guard let row = rows.first(where: { $0.node == name }) else {
                throw CommandFailure("Could not find a coordinate for node \"\(name)\"")
            }
            return row.coordinate
        }
        let seconds = try coordinate(self.nodes[0]).distance(to: try coordinate(other))
        return (self.nodes[0], other, seconds)
    }

    private func betweenDatacenters(_ client: APIClient) async throws -> (String, String, Double) {
        var names = self.nodes
        guard names.allSatisfy({ $0.contains(".") }) else { throw Self.noDatacenter }
        if names.count == 1 {
            let own = try await Self.ownName(client)
            names.append(own.name + "." + own.datacenter)
        }
        let answer = try await client.demand(.GET, "/v1/coordinate/datacenters", failing: "Error getting coordinates")
        let areas = try answer.decoded([CoordinateArea].self)
        func coordinate(_ name: String) throws -> NetworkCoordinate {
            guard let dot = name.lastIndex(of: ".") else {
                throw Self.noDatacenter
            }
            let (node, datacenter) = (name[..<dot], name[name.index(after: dot)...])
            for area in areas where area.datacenter == datacenter {
                for row in area.rows where row.node == node || row.node == name { return row.coordinate }
            }
            throw CommandFailure("Could not find a coordinate for node \"\(node)\" in datacenter \"\(datacenter)\"")
        }
        let seconds = try coordinate(names[0]).distance(to: try coordinate(names[1]))
        return (names[0], names[1], seconds)
    }

    private static let noDatacenter = CommandFailure(
        "Node names must be specified as <node name>.<datacenter> with -wan")

    private static func ownName(_ client: APIClient) async throws -> (name: String, datacenter: String) {
        struct Itself: Decodable {
            var Config: Fields
            struct Fields: Decodable {
                var NodeName: String
                var Datacenter: String
            }
        }
        let answer = try await client.demand(.GET, "/v1/agent/self", failing: "Unable to look up local node")
        let config = try answer.decoded(Itself.self).Config
        return (config.NodeName, config.Datacenter)
    }
}

private struct CoordinateRow: Decodable {
    var node: String
    var coordinate: NetworkCoordinate
    enum CodingKeys: String, CodingKey {
        case node = "Node"
        case coordinate = "Coord"
    }
}

private struct CoordinateArea: Decodable {
    var datacenter: String
    var rows: [CoordinateRow]
    enum CodingKeys: String, CodingKey {
        case datacenter = "Datacenter"
        case rows = "Coordinates"
    }
}

/// A Vivaldi coordinate with a height, as Consul's API page Coordinates shows it; all in seconds.
package struct NetworkCoordinate: Decodable, Sendable {
    var vector: [Double]
    var adjustment: Double
    var height: Double

    enum CodingKeys: String, CodingKey {
        case vector = "Vec"
        case adjustment = "Adjustment"
        case height = "Height"
    }

    package init(vector: [Double], adjustment: Double, height: Double) {
        self.vector = vector
        self.adjustment = adjustment
        self.height = height
    }

    /// The distance in the space and both heights; corrected by both adjustments unless that makes it negative.
    package func distance(to other: NetworkCoordinate) throws -> Double {
        guard self.vector.count == other.vector.count else {
            throw CommandFailure("Error! The coordinates have different dimensions and can't be compared")
        }
        let squares = zip(self.vector, other.vector).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        let distance = squares.squareRoot() + self.height + other.height
        let adjusted = distance + self.adjustment + other.adjustment
        return adjusted > 0 ? adjusted : distance
    }
}
