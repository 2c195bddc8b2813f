"""azure-identity, as an application uses it: WorkloadIdentityCredential, and a token for Azure's resource manager."""

import re

import azure.core.exceptions as errors
from azure.identity import CredentialUnavailableError, WorkloadIdentityCredential

import judge

SCOPE = "https://management.azure.com/.default"


def verify(job):
    settings = {"connection_timeout": job["timeout"], "read_timeout": job["timeout"]}
    if job["attempts"]:
        settings["retry_total"] = job["attempts"] - 1
    try:
        credential = WorkloadIdentityCredential(**settings)
        credential.get_token(SCOPE)
    except CredentialUnavailableError as error:
        return judge.failed("invalid", error.message)
    except errors.ClientAuthenticationError as error:
        return refused(error)
    except errors.AzureError as error:
        return judge.failed("unreachable", error)
    except (OSError, ValueError) as error:
        return judge.failed("invalid", error)
    return judge.verified()


def refused(error):
    if error.response is None:
        return judge.failed("unreachable", error.message)
    code, text = None, error.response.text()
    try:
        body = error.response.json()
        text = body.get("error_description", text)
        numbers = body.get("error_codes") or re.findall(r"AADSTS(\d+)", text)
        code = f"AADSTS{numbers[0]}" if numbers else body.get("error")
    except (AttributeError, ValueError):
        pass
    return judge.answered(error.response.status_code, code, text)


judge.serve(verify)
