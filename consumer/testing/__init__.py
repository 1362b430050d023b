"""The contract of the sink port as a pytest class, for sinks of other packages. It needs pytest.

Subclass `SinkContract` and override its fixture `place`; examples/csv_sink shows how.
"""

import pytest

pytest.register_assert_rewrite("consumer.testing.sink_contract")

from consumer.testing.batches import DEAD_LETTERS, ROWS, make_batch  # noqa: E402
from consumer.testing.sink_contract import SinkContract, SinkPlace  # noqa: E402

__all__ = ["DEAD_LETTERS", "ROWS", "SinkContract", "SinkPlace", "make_batch"]
