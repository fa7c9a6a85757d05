# SPDX-License-Identifier: Apache-2.0
"""The peers' side of the benchmarks: answers one line of JSON for each line of JSON.

{"call": "encoder.run", "threads": 2} calls `run(threads=2)` of encoder.py beside this file. What a function returns, a
dictionary, is the answer. Functions that are measured return "seconds", timed inside.
"""
import importlib
import json
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# Packages may write to standard output; the answers have a channel of their own.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

for line in sys.stdin:
    request = json.loads(line)
    module, name = request.pop("call").split(".")
    try:
        answer = getattr(importlib.import_module(module + "_peer"), name)(**request) or {}
    except Exception as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
    answers.write(json.dumps(answer) + "\n")
answers.flush()
os._exit(0)  # the interpreter's teardown can race with native threads of the packages
