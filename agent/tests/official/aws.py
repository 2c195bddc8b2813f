"""botocore, as an application uses it: the session's credentials, then GetCallerIdentity with them."""

import re

import botocore.config
import botocore.exceptions as errors
import botocore.loaders
import botocore.parsers
import botocore.session
import botocore.utils

import judge

# What botocore tries again although the status says 400: its own list, and the code that its model of STS adds.
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

TRANSIENT = {
    *ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
    *TransientRetryableChecker._TRANSIENT_ERROR_CODES,
    "IDPCommunicationError",
}
UNREACHABLE = (
    errors.HTTPClientError,
    errors.ConnectionError,
    KeyError,  # an answer that is XML, but not the expected document
)
INVALID = (
    errors.NoCredentialsError,
    errors.PartialCredentialsError,
    errors.InvalidConfigError,
    errors.ConfigNotFound,
    errors.ConfigParseError,
    errors.ProfileNotFound,
    errors.ParamValidationError,
    errors.InvalidRegionError,
    errors.UnknownEndpointError,
    errors.EndpointProviderError,
    OSError,  # the token file
    ValueError,  # an endpoint that is no URL, a credentials host that is not allowed, a token that is not text
)

# The services' descriptions, read once.
MODELS = botocore.loaders.create_loader()


def verify(job):
    fetcher = botocore.utils.ContainerMetadataFetcher
    fetcher.TIMEOUT_SECONDS = job["timeout"]
    fetcher.SLEEP_TIME = 0
    fetcher.RETRY_ATTEMPTS = job["attempts"] or 3
    session = botocore.session.Session()
    session.register_component("data_loader", MODELS)
    settings = {"connect_timeout": job["timeout"], "read_timeout": job["timeout"]}
    if job["attempts"]:
        settings["retries"] = {"total_max_attempts": job["attempts"]}
    session.set_default_client_config(botocore.config.Config(**settings))
    try:
        credentials = session.get_credentials()
        if credentials is None:
            raise errors.NoCredentialsError
        credentials.get_frozen_credentials()
        # Without a region the exchange goes to the global endpoint, which is in us-east-1.
        region = session.get_config_variable("region") or "us-east-1"
        identity = session.create_client("sts", region_name=region).get_caller_identity()
    except errors.ClientError as error:
        answer = error.response["Error"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        code = answer.get("Code")
        return judge.answered(status, code, answer.get("Message"), transient=code in TRANSIENT)
    except (errors.CredentialRetrievalError, errors.MetadataRetrievalError) as error:
        return container(str(error))
    except botocore.parsers.ResponseParserError:
        # Its text quotes the answer, and with it credentials.
        return judge.failed("unreachable", "an answer that does not parse")
    except UNREACHABLE as error:
        return judge.failed("unreachable", error)
    except INVALID as error:
        return judge.failed("invalid", error)
    return judge.verified(**{name: identity[name] for name in ("UserId", "Account", "Arn")})


def container(text):
    """The answer of a credentials endpoint, which botocore hands on as text. The EKS agent answers in text as well."""
    answer = re.search(r"Received non 200 response (\d+) from container metadata: (.*)", text, re.DOTALL)
    if answer is None:
        return judge.failed("unreachable", text)
    status, message = answer.groups()
    code = re.search(r"\]: \((\w+)\): ", message)
    return judge.answered(int(status), code and code[1], message)


judge.serve(verify)
