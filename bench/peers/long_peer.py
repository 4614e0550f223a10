"""How long a long program takes to become a plan, stage by stage.

{"case": name} -> {"first": s, "rest": s, "again": s, "nodes": n, "kernels": n, "stages": {..: s}}
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cases import by_name
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.lower import lower
from fusejit.passes import PIPELINE
from fusejit_peer import fused, peer
from protocol import Request, answer_each_line


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    found = function(*args)
    return found, time.perf_counter() - start


def answer(request: Request) -> Request:
    case = by_name()[request["case"]]
    function: Any = fused(case)
    inputs = peer(fused).inputs(case)
    function.eager(*inputs)  # makes what eager ops make once
    _, body = timed(function.eager, *inputs)
    _, first = timed(function, *inputs)
    _, rest = timed(lambda: function.num_compiles)  # waits for what the call left to do
    _, again = timed(function, *inputs)
    graph = recorded = function.graph(*inputs, stage="recorded")
    stages = {"eager body": body}
    for each in PIPELINE:
        graph, stages[each.__name__] = timed(each, graph)
    plan, stages["lower"] = timed(lower, graph)
    _, stages["load"] = timed(load_plan, plan)
    sizes = {"nodes": len(recorded.nodes), "kernels": function.num_compiles}
    return {"first": first, "rest": rest, "again": again, **sizes, "stages": stages}


if __name__ == "__main__":
    answer_each_line(answer)
