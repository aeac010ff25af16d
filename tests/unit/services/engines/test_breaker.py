from services.engines.breaker import Breaker, Circuit


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(failures=2, open_s=30, clock=clock)
    breaker.failed()
    breaker.failed()
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(failures=2, open_s=30)
    for note in (breaker.failed, breaker.succeeded, breaker.failed):
        note()
    assert (breaker.circuit, breaker.wait_s()) == (Circuit.CLOSED, 0)

    breaker.failed()
    assert breaker.circuit is Circuit.OPEN
    assert 29 < breaker.wait_s() <= 30


def test_one_request_tries_it_when_the_pause_is_over() -> None:
    breaker = opened(clock := Clock())
    clock.now = 30

    assert [breaker.wait_s(), breaker.wait_s()] == [0, 30]
    assert breaker.circuit is Circuit.HALF_OPEN
    breaker.succeeded()
    assert (breaker.circuit, breaker.wait_s()) == (Circuit.CLOSED, 0)


def test_a_trial_that_fails_begins_another_pause() -> None:
    breaker = opened(clock := Clock())
    clock.now = 31
    breaker.wait_s()
    breaker.failed()

    assert breaker.wait_s() == 30


def test_a_trial_that_is_given_up_is_another_s_to_make() -> None:
    breaker = opened(clock := Clock())
    clock.now = 30
    breaker.wait_s()
    breaker.left()

    assert breaker.wait_s() == 0


def test_what_fails_late_does_not_make_the_pause_longer() -> None:
    breaker = opened(clock := Clock())
    clock.now = 20
    breaker.failed()

    assert breaker.wait_s() == 10


def test_without_a_limit_it_never_opens() -> None:
    breaker = Breaker(failures=0, open_s=30)
    for _ in range(100):
        breaker.failed()

    assert breaker.circuit is Circuit.CLOSED
