"""What the three clients have in common: jobs in, verdicts out.

A job is one line of JSON on standard input:
    {"env": {...}, "timeout": seconds, "attempts": number or null, "deadline": seconds}
Its variables become the whole environment of the process, `timeout` is how long the client waits for a connection or
an answer, `attempts` how often it tries where the client has a setting for that (null: as often as it does by itself).
The verdict is one line of JSON on standard output:
    {"verdict": ..., "status": ..., "code": ..., "message": ..., "identity": {...}}
in the words of the agent's own result. One interpreter takes any number of jobs, one after the other. Tokens and
credentials stay in here: what goes out is what the client raised, or who it says that it is.
"""

import json
import logging
import os
import signal
import sys
import time


class Late(BaseException):
    """The job's deadline passed; not an Exception, so that no client can mistake it for one of its own."""


def serve(verify):
    """Takes jobs until standard input ends."""
    # The clients wait between attempts, for up to 14 seconds. The attempts are theirs, the waiting is not needed.
    time.sleep = lambda seconds: None
    # Warnings about what a job provokes on purpose are nobody's concern.
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _late)
    for line in sys.stdin:
        job = json.loads(line)
        os.environ.clear()
        os.environ.update(job["env"])
        signal.setitimer(signal.ITIMER_REAL, job["deadline"])
        try:
            answer = verify(job)
        except Late:
            answer = failed("error", f"no verdict within {job['deadline']} s")
        except Exception as error:  # a client's exception that nobody has classified is for a person to look at
            answer = failed("error", f"{type(error).__module__}.{type(error).__name__}: {error}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps(answer), flush=True)


def verified(**identity):
    """The client holds credentials."""
    return {"verdict": "verified", "identity": identity}


def failed(verdict, message):
    """The client failed without an answer of the cloud, or without one that it understands."""
    return {"verdict": verdict, "message": str(message)}


def answered(status, code, message, transient=False):
    """The cloud answered with an error. What the client would try again is no denial."""
    transient = transient or status < 400 or status in (408, 429) or status >= 500
    verdict = "unreachable" if transient else "denied"
    return {"verdict": verdict, "status": status, "code": code, "message": message}


def _late(*_):
    raise Late
