"""How much memory workers hold, and whether that goes on growing."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

SHARE, MORE_MB = 1.15, 50.0
"""By how much what is flat may grow: a share, and some for what comes and goes."""

_EVERY_S = 0.5


@dataclass
class Life:
    """A process: which worker, and pairs of its age in seconds and its resident set in MB."""

    instance: str
    began_s: float
    samples: list[tuple[float, float]] = field(default_factory=list)

    def most(self, from_s: float = 0.0, to_s: float = float("inf")) -> float:
        """Return the most it held between two ages; 0 where it was not there."""
        return max((mb for age_s, mb in self.samples if from_s <= age_s < to_s), default=0.0)

    @property
    def age_s(self) -> float:
        """How old it was when it was last seen."""
        return self.samples[-1][0] if self.samples else 0.0


class Memory(threading.Thread):
    """Samples the resident sets of the workers of a field until stopped."""

    def __init__(self) -> None:
        super().__init__(name="memory", daemon=True)
        self.lives: list[Life] = []
        self._present: dict[str, tuple[Life, subprocess.Popen[bytes]]] = {}
        self._stopping = threading.Event()
        self.start()

    def watch(self, instance: str, process: subprocess.Popen[bytes]) -> None:
        """Sample this process from now on, in place of the worker's last one."""
        life = Life(instance, time.monotonic())
        self.lives.append(life)
        self._present[instance] = (life, process)

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stopping.wait(_EVERY_S):
            for life, process in list(self._present.values()):
                if (held := resident_mb(process.pid)) is not None:
                    life.samples.append((time.monotonic() - life.began_s, held))

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self.join()


def resident_mb(pid: int) -> float | None:
    """Return the resident set of a process; None where there is no such process any more."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(sizes[0]) / 1024 if sizes else None


def growth(life: Life, settled_s: float) -> tuple[float, float, bool]:
    """Return what a process held at most up to an age, and after; and whether that is flat.

    >>> life = Life("w1", 0.0, [(0.0, 90.0), (10.0, 200.0), (20.0, 210.0), (30.0, 300.0)])
    >>> growth(life, 15.0)
    (200.0, 300.0, False)
    >>> growth(Life("w1", 0.0, life.samples[:3]), 15.0)
    (200.0, 210.0, True)
    """
    before, after = life.most(0.0, settled_s), life.most(settled_s)
    return before, after, after <= before * SHARE + MORE_MB


def generations(lives: list[Life], instance: str, settled_s: float) -> tuple[list[float], bool]:
    """Return what each process of a worker held at most, and whether the later ones hold no more.

    They are compared at one age, which all but those that died sooner reached; the ones that began
    before ``settled_s`` after the first are what the others are held against.

    >>> lives = [Life("w1", 60.0 * n, [(50.0, 100.0 + each)]) for n, each in enumerate([0, 5, 90])]
    >>> generations(lives, "w1", 100.0)
    ([100.0, 105.0, 190.0], False)
    """
    own = [life for life in lives if life.instance == instance and life.samples]
    if not own:
        return [], True
    age_s = sorted(life.age_s for life in own)[len(own) // 4]
    reached = [life for life in own if life.age_s >= age_s]
    held = [life.most(0.0, age_s + 1.0) for life in reached]
    first_s = own[0].began_s
    early = [
        mb for life, mb in zip(reached, held, strict=True) if life.began_s - first_s < settled_s
    ]
    late = held[len(early) :]
    flat = not late or not early or max(late) <= max(early) * SHARE + MORE_MB
    return held, flat
