"""Packets in the name of a camera that make it seem to have got further than it has."""

from rtps import CDR_LE, data, data_frag, gap, heartbeat, packet


def leaps_of_a_camera(target):
    """In several orders, whose parts come in one datagram: nothing of the camera is in between."""
    counts = iter(range(100, 10000, 100))

    def sample(sn: int) -> bytes:
        return data(target.reader, target.camera, sn, CDR_LE + bytes(40))

    def fragment(sn: int) -> bytes:
        return data_frag(target.reader, target.camera, sn, 1, 1, 1000, 1000, CDR_LE + bytes(996))

    def beat(first: int, last: int) -> bytes:
        return heartbeat(target.reader, target.camera, first, last, next(counts))

    def gone(start: int, base: int) -> bytes:
        return gap(target.reader, target.camera, start, base)

    orders = [
        [sample(5000), beat(5000, 5000)],
        [beat(5000, 5000), sample(5000)],
        [beat(5000, 5000), sample(5000), beat(5001, 5000)],
        [sample(5000), gone(1, 5000)],
        [gone(1, 5000), sample(5000)],
        [gone(200, 5000), sample(5000), beat(5000, 5000)],
        [fragment(5000), beat(5000, 5000), fragment(5000), beat(5001, 5000)],
        [beat(5000, 5000), *(sample(5000 + n) for n in range(20))],
        [part for n in range(1, 40) for part in (beat(5000 * n, 5000 * n), sample(5000 * n))],
        [*(sample(5000 + n) for n in range(20)), gone(1, 5000)],
    ]
    for order in orders:
        yield packet(target.prefix, *order)
