"""Create and check the DynamoDB table. `Options` are those of a `dynamodb:` URL."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from pydantic import BaseModel

from consumer.aws.calls import Calls
from consumer.aws.reasons import code_of
from consumer.errors import ConfigurationError
from consumer.leases.dynamodb.client import ignore_failed_condition
from consumer.leases.dynamodb.item import KEY
from consumer.setting_values import Tags

PATIENCE = 120.0  # seconds for a new table to become ACTIVE; AWS takes about ten
USABLE = ("ACTIVE", "UPDATING")
# A condition that no item fulfils: a call with it tests a permission and writes nothing.
NEVER = f"attribute_exists({KEY}) AND attribute_not_exists({KEY})"


class Options(BaseModel, extra="forbid"):
    """The location of the table, and settings for creating it."""

    endpoint_url: str | None = None
    region: str | None = None
    point_in_time_recovery: bool = False
    deletion_protection: bool = False
    tags: Tags = {}

    @property
    def create_arguments(self) -> Mapping[str, Any]:
        """Return further arguments of CreateTable. Leave out unset ones: some emulators do not know them."""
        arguments = {
            "DeletionProtectionEnabled": self.deletion_protection,
            "Tags": [{"Key": name, "Value": value} for name, value in self.tags.items()],
        }
        return {name: value for name, value in arguments.items() if value}


class Table:
    """Create the table if it is missing, and check that a worker can use it."""

    def __init__(self, client: Any, name: str, options: Options, calls: Calls, sleep: Callable[[float], None]) -> None:
        self._client, self._name, self._options, self._calls, self._sleep = client, name, options, calls, sleep

    def check(self) -> None:
        """Create the table if it is missing, wait until it is active, and test every permission that a worker needs.

        Raises:
            ConfigurationError: the table or a permission is not usable.
            LeaseTableUnavailable: the service does not respond.
        """
        described = self._description()
        if described is None:
            self._make()
        described = self._active(described)
        self._check_key(described)
        if self._options.point_in_time_recovery:
            with self._calls.checking("UpdateContinuousBackups"):
                self._client.update_continuous_backups(
                    TableName=self._name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
                )
        self._check_permissions()

    def exists(self) -> bool:
        """Return whether the table is there. Create nothing."""
        return self._description() is not None

    def _description(self) -> dict[str, Any] | None:
        with self._calls.checking("DescribeTable"):
            try:
                response = self._client.describe_table(TableName=self._name)
                return dict(self._calls.member(response, "Table", "DescribeTable"))
            except ClientError as error:
                if code_of(error) != "ResourceNotFoundException":
                    raise
                return None

    def _make(self) -> None:
        with self._calls.checking("CreateTable"):
            try:
                self._client.create_table(
                    TableName=self._name,
                    KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                    AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                    BillingMode="PAY_PER_REQUEST",
                    **self._options.create_arguments,
                )
            except ClientError as error:
                if code_of(error) != "ResourceInUseException":  # another worker has just created it
                    raise

    def _active(self, described: dict[str, Any] | None) -> dict[str, Any]:
        give_up = time.monotonic() + PATIENCE
        wait = 0.05
        while described is None or described["TableStatus"] not in USABLE:
            if time.monotonic() > give_up:
                state = described["TableStatus"] if described else "missing"
                raise ConfigurationError(f"lease table {self._name}: still {state} after {PATIENCE:.0f} s")
            self._sleep(wait)
            wait = min(2 * wait, 2.0)
            described = self._description()
        return described

    def _check_key(self, described: dict[str, Any]) -> None:
        keys = [(key["AttributeName"], key["KeyType"]) for key in described["KeySchema"]]
        kinds = {
            attribute["AttributeName"]: attribute["AttributeType"] for attribute in described["AttributeDefinitions"]
        }
        if keys != [(KEY, "HASH")] or kinds[KEY] != "S":
            found = ", ".join(f"{name} ({kinds[name]})" for name, _ in keys)
            raise ConfigurationError(
                f"table {self._name} is not a lease table: its key is {found}, not {KEY} (S); name another table"
            )

    def _check_permissions(self) -> None:
        key = {KEY: {"S": "-"}}
        calls: dict[str, Callable[[], object]] = {
            "Scan": lambda: self._client.scan(TableName=self._name, Limit=1),
            "BatchGetItem": lambda: self._client.batch_get_item(RequestItems={self._name: {"Keys": [key]}}),
            "PutItem": lambda: self._client.put_item(TableName=self._name, Item=key, ConditionExpression=NEVER),
            "UpdateItem": lambda: self._client.update_item(TableName=self._name, Key=key, ConditionExpression=NEVER),
            "DeleteItem": lambda: self._client.delete_item(TableName=self._name, Key=key, ConditionExpression=NEVER),
        }
        for action, call in calls.items():
            with self._calls.checking(action), ignore_failed_condition():
                call()
