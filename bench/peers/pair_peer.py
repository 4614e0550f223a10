"""fusejit against itself, in one process: a case eager and fused, turn by turn.

{"case": name, "rounds": n} -> {"eager": [n times], "fused": [n times]}
"""

from __future__ import annotations

from typing import Any

from cases import by_name
from fusejit_peer import eager, fused, peer
from protocol import Request, answer_each_line, call_of, calls_in_a_sample, time_calls

CASES = by_name()


def answer(request: Request) -> Request:
    case = CASES[request["case"]]
    calls: dict[str, Any] = {
        "eager": call_of(case, eager(case), peer(eager).inputs(case)),
        "fused": call_of(case, fused(case), peer(fused).inputs(case)),
    }
    numbers = {}
    for name, call in calls.items():
        call()  # what is made once is made now
        numbers[name] = calls_in_a_sample(call)
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(request["rounds"]):
        for name in ("eager", "fused") if number % 2 else ("fused", "eager"):
            found[name].append(time_calls(calls[name], numbers[name]))
    return found


if __name__ == "__main__":
    answer_each_line(answer)
