"""google-auth, as an application uses it: the default credentials, refreshed."""

import functools
import importlib
import json
import math
import os

import google.auth
import google.auth.compute_engine._metadata
import google.auth.transport.requests
from google.auth import exceptions as errors

import judge

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
FAILURES = (
    errors.GoogleAuthError,
    OSError,  # the token file
    ValueError,  # a token file or an answer that is not what it should be
    AttributeError, KeyError, TypeError,  # a member that is missing in a document or an answer
)


class Transport(google.auth.transport.requests.Request):
    """google-auth's own transport, which its exceptions do not tell the HTTP status of."""

    def __init__(self):
        super().__init__()
        self.status = None
        self.body = ""
        self.trouble = None

    def __call__(self, *args, **kwargs):
        self.status = self.trouble = None
        try:
            response = super().__call__(*args, **kwargs)
        except errors.TransportError as error:
            self.trouble = error
            raise
        self.status = response.status
        self.body = response.data.decode("utf-8", "replace")
        return response


def verify(job):
    os.environ["GCE_METADATA_TIMEOUT"] = str(math.ceil(job["timeout"]))
    if job["attempts"]:
        os.environ["GCE_METADATA_DETECT_RETRIES"] = str(job["attempts"])
    # The module reads where and how long from the environment when it is loaded.
    importlib.reload(google.auth.compute_engine._metadata)
    transport = Transport()
    request = functools.partial(transport, timeout=job["timeout"])
    try:
        credentials, _ = google.auth.default(scopes=SCOPES, request=request)
        credentials.refresh(request)
    except FAILURES as error:
        return refused(error, transport)
    if not credentials.token:
        return judge.failed("unreachable", "an answer without a token")
    identity = getattr(credentials, "service_account_email", None)
    return judge.verified(**{"principal": identity} if identity else {})


def refused(error, transport):
    message = str(error.args[0] if error.args else error)
    if transport.trouble is not None:
        return judge.failed("unreachable", transport.trouble)
    if transport.status is None:
        return judge.failed("invalid", message)
    if transport.status == 200:
        return judge.failed("unreachable", f"not the document that was asked for: {message}")
    code, text = None, transport.body
    try:
        body = json.loads(transport.body)
        if isinstance(body["error"], dict):
            code, text = body["error"]["status"], body["error"]["message"]
        else:
            code, text = body["error"], body.get("error_description", "")
    except (KeyError, TypeError, ValueError):
        pass
    return judge.answered(transport.status, code, text)


judge.serve(verify)
