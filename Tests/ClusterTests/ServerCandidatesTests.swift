import Cluster
import Testing

@Suite struct ServerCandidatesTests {
    @Test func serversThatWereReplacedAreForgottenAndGivenOnesAreNot() {
        var candidates = ServerCandidates(given: ["join:8300"])
        // Servers come and go under ever new addresses.
        for number in 0..<100 { candidates.learn((number..<number + 3).map { "10.0.0.\($0):8300" }) }
        #expect(candidates.addresses == ["join:8300", "10.0.0.99:8300", "10.0.0.100:8300", "10.0.0.101:8300"])
        candidates.learn([])
        #expect(candidates.addresses.count == 4)
        candidates.give("by-hand:8300")
        candidates.learn(["10.0.0.101:8300"])
        #expect(candidates.addresses == ["join:8300", "10.0.0.101:8300", "by-hand:8300"])
    }

    @Test func whoeverIsAskedIsAskedLastTheNextTime() {
        var candidates = ServerCandidates(given: ["a:1", "b:1"])
        candidates.asked("a:1")
        #expect(candidates.addresses == ["b:1", "a:1"])
        candidates.asked("gone:1")
        #expect(candidates.addresses == ["b:1", "a:1"])
    }
}
