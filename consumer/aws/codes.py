"""The meaning of the error codes of AWS services, including STS and SSO."""

# Every throttling code of botocore's retry modes, of Kinesis and of DynamoDB.
THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMSThrottlingException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
# The same call may soon succeed without a change.
TRANSIENT = frozenset(
    {
        "ExpiredNextTokenException",
        "IDPCommunicationError",
        "IDPCommunicationErrorException",
        "InternalError",
        "InternalFailure",
        "InternalFailureException",
        "InternalServerError",
        "InternalServerException",
        "ReplicatedWriteConflictException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ResourceInUseException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "TransactionInProgress",
    }
)
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
# The service rejects the credentials. Their source may have new ones.
STALE = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "RequestExpired",
        "UnrecognizedClientException",
    }
)
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "KMSAccessDeniedException"})
ADVICE = {
    "AccessDenied": "the credentials lack a permission",
    "AccessDeniedException": "the credentials lack a permission",
    "KMSAccessDeniedException": "the credentials may not use the key that the stream is encrypted with",
    "KMSDisabledException": "the key that the stream is encrypted with is disabled",
    "KMSInvalidStateException": "the key that the stream is encrypted with cannot be used in its state",
    "KMSOptInRequired": "this account has not enabled the key service",
    "KMSNotFoundException": "the key that the stream is encrypted with does not exist",
    "ExpiredToken": "the credentials have expired",
    "ExpiredTokenException": "the credentials have expired",
    "IncompleteSignature": "the credentials are not valid",
    "InvalidClientTokenId": "the credentials are not valid",
    "InvalidSignatureException": "the credentials are not valid, or this machine's clock is wrong",
    "MissingAuthenticationTokenException": "the credentials are not valid",
    "RequestExpired": "the credentials have expired, or this machine's clock is wrong",
    "SignatureDoesNotMatch": "the credentials are not valid, or this machine's clock is wrong",
    "UnrecognizedClientException": "the credentials are not valid",
    "OptInRequired": "this account has not enabled the service or the region",
}


def is_transient(code: str, status: int) -> bool:
    """Return whether the same call may succeed later without a change."""
    return code in THROTTLED or code in TRANSIENT or status in TRANSIENT_STATUSES or status >= 500
