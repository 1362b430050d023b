"""`az://CONTAINER/PREFIX`: Azure Blob Storage.

obstore finds the credentials: AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, a service principal, a workload
identity, or a managed identity.
"""

from typing import TYPE_CHECKING

from consumer.aws.network import host_of
from consumer.setting_values import Endpoint
from consumer.sinks import SinkSchema
from consumer.sinks.objects.formats import chosen, formats_of
from consumer.sinks.objects.options import TaggedOptions, bucket_and_prefix, named
from consumer.sinks.objects.remote import NO_RETRIES, RemoteStore, Service, client_options, configuring
from consumer.sinks.objects.sink import ObjectsSink
from consumer.urls import Url

if TYPE_CHECKING:
    from obstore.store import AzureConfig, AzureStore

NEEDED = "the credentials need the role Storage Blob Data Contributor on the container"
ADVICE = {
    "ContainerNotFound": "create the container, or name another",
    "AuthenticationFailed": "the credentials are not valid, or this machine's clock is wrong",
    "AuthorizationFailure": "the credentials are not valid, or the account's network rules reject this machine",
    "AuthorizationPermissionMismatch": NEEDED,
    "HEAD 403": NEEDED,
}


class Options(TaggedOptions):
    """The storage account, and where it is."""

    account: str = ""
    endpoint_url: Endpoint = None


def connect(url: Url, options: Options, contents: SinkSchema) -> ObjectsSink:
    """Return the sink for a URL. No service is asked yet.

    Raises:
        ConfigurationError: the URL or an option is wrong, or a library is missing.
    """
    container, prefix = bucket_and_prefix(url, "container")
    suffix, formats = chosen(url.label, options.format, contents), formats_of(contents)
    with configuring(f"{url.label} az", ": say ?account=NAME, or set the AZURE_ variables"):
        store = _store(container, prefix, options)
    service = Service(named(url, container, prefix), host_of(options.endpoint_url or "Azure"), ADVICE)
    return ObjectsSink(RemoteStore(store, service, formats[suffix].content_type, options.tags), formats, suffix)


def _store(container: str, prefix: str, options: Options) -> "AzureStore":
    from obstore.store import AzureStore

    config: AzureConfig = {}
    if options.account:
        config["account_name"] = options.account
    if options.endpoint_url:
        config["endpoint"] = options.endpoint_url
    return AzureStore(
        container,
        prefix=prefix or None,
        config=config,
        client_options=client_options(options.endpoint_url),
        retry_config=NO_RETRIES,
    )
