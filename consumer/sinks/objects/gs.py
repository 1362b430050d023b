"""`gs://BUCKET/PREFIX`: Google Cloud Storage. It is not tested: there is no emulator that it could be tested with.

obstore finds the credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, or the metadata server.
"""

from consumer.sinks import SinkSchema
from consumer.sinks.objects.formats import chosen, formats_of
from consumer.sinks.objects.options import ObjectOptions, bucket_and_prefix, named
from consumer.sinks.objects.remote import NO_RETRIES, RemoteStore, Service, client_options, configuring
from consumer.sinks.objects.sink import ObjectsSink
from consumer.urls import Url

HOST = "https://storage.googleapis.com"
NEEDED = "the credentials need storage.objects.create and storage.objects.get"
ADVICE = {
    "NoSuchBucket": "create the bucket, or name another",
    "AccessDenied": NEEDED,
    "PUT 403": NEEDED,
    "HEAD 403": NEEDED,
    "PUT 404": "create the bucket, or name another",
}


class Options(ObjectOptions):
    """The format of the objects."""


def connect(url: Url, options: Options, contents: SinkSchema) -> ObjectsSink:
    """Return the sink for a URL. No service is asked yet.

    Raises:
        ConfigurationError: the URL or an option is wrong, or a library is missing.
    """
    bucket, prefix = bucket_and_prefix(url)
    suffix, formats = chosen(url.label, options.format, contents), formats_of(contents)
    with configuring(f"{url.label} gs"):
        from obstore.store import GCSStore

        given = client_options(None)
        store = GCSStore(bucket, prefix=prefix or None, client_options=given, retry_config=NO_RETRIES)
    service = Service(named(url, bucket, prefix), HOST, ADVICE)
    return ObjectsSink(RemoteStore(store, service, formats[suffix].content_type), formats, suffix)
