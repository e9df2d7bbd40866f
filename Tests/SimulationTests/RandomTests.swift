import Simulation
import Testing

@Suite struct RandomTests {
    @Test func theStreamIsTheSameOnEveryMachine() {
        var random = SimulationRandom(seed: 42)
        let first = (0..<4).map { _ in random.next() }
        var again = SimulationRandom(seed: 42)
        #expect(first == (0..<4).map { _ in again.next() })
        var other = SimulationRandom(seed: 43)
        #expect(first != (0..<4).map { _ in other.next() })
    }

    @Test func concernsHaveStreamsOfTheirOwn() {
        var network = SimulationRandom(seed: 1, concern: "network")
        var disk = SimulationRandom(seed: 1, concern: "disk")
        #expect(network.next() != disk.next())
    }

    @Test func drawsStayInTheirBounds() {
        var random = SimulationRandom(seed: 9)
        var sum: UInt64 = 0
        for _ in 0..<20_000 {
            #expect((0..<7).contains(random.below(7)))
            #expect((3...5 as ClosedRange<UInt64>).contains(random.within(3...5)))
            sum += random.exponential(mean: 1_000)
        }
        // The mean of twenty thousand draws lies within a few percent.
        #expect((900...1_100).contains(sum / 20_000))
        #expect(random.below(0) == 0)
        #expect(!(0..<1_000).contains { _ in random.chance(0) })
        #expect((0..<1_000).allSatisfy { _ in random.chance(1) })
    }

    @Test func shufflingKeepsEveryElement() {
        var random = SimulationRandom(seed: 3)
        var cards = Array(0..<52)
        random.shuffle(&cards)
        #expect(cards != Array(0..<52))
        #expect(cards.sorted() == Array(0..<52))
    }

    @Test func theChecksumIsCastagnolis() {
        // The check value of CRC-32C in the catalogue of parametrised CRC algorithms.
        #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
    }
}
