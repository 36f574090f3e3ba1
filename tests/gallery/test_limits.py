from mercer.gallery.limits import Limit, Limiter


def test_a_bucket_fills_again_with_time_and_each_visitor_has_one():
    limiter = Limiter(Limit(burst=3, per_second=2.0))
    assert [limiter.wait("ada", at=0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limiter.wait("bob", at=0.0) == 0.0
    assert limiter.wait("ada", at=0.5) == 0.0
    assert limiter.wait("ada", at=0.5) == 0.5
    assert [limiter.wait("ada", at=100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_many_visitors_take_no_more_memory_than_some():
    limiter = Limiter(Limit(burst=1, per_second=1.0))
    for i in range(10_050):
        assert limiter.wait(str(i), at=0.0) == 0.0
    assert len(limiter._buckets) == 50
