"""The h2 library's state of one HTTP/2 connection, lenient where h2 ends the whole connection for the fault of one stream.

h2 raises, and so ends every stream of a connection, on one stream too many, on a malformed request and on a body of another
length than announced; these are errors of a stream (RFC 9113 §5.1.2, §8.1.1). It also refuses to send once the client said
GOAWAY, by which the client only promises to ask for nothing more (§6.8).
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, StreamReset
from h2.exceptions import DenialOfServiceError, InvalidBodyLengthError, ProtocolError, StreamClosedError, TooManyStreamsError
from h2.settings import SettingCodes, Settings
from hypercorn.config import Config
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame

STREAM_WINDOW = 2**18
"""Bytes of a body that may be under way; the protocol's 65,535 let 10 MiB take eight seconds at 50 ms of distance."""

TOLERANCE = 4
"""How many times the announced limits h2 bears before it ends the connection; what is between is refused, stream by stream."""


class LenientH2Connection(H2Connection):
    """The server's side of one connection."""

    def __init__(self, config: Config) -> None:
        super().__init__(H2Configuration(client_side=False, header_encoding=None))
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: config.h2_max_concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: config.h2_max_header_list_size,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                # hypercorn sets an attribute that h2 never reads, so that the option is without effect.
                SettingCodes.MAX_FRAME_SIZE: config.h2_max_inbound_frame_size,
            },
        )
        self.max_inbound_frame_size = config.h2_max_inbound_frame_size
        self.decoder.max_header_list_size = TOLERANCE * config.h2_max_header_list_size

    def initiate_connection(self) -> None:
        """Send the settings, and give the connection a window in which no stream's unread body can stop the others."""
        super().initiate_connection()
        self.increment_flow_control_window(self.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] * STREAM_WINDOW)

    @property
    def open_inbound_streams(self) -> int:
        """A fraction of the open streams: at the limit HTTP2Protocol refuses a stream, and h2 would end the connection."""
        return super().open_inbound_streams // TOLERANCE

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        return [], [event]

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        try:
            return super()._receive_headers_frame(frame)
        except (TooManyStreamsError, DenialOfServiceError, StreamClosedError):
            raise
        except ProtocolError as error:
            # With a cause it is a broken header block, or h2's state: nothing that follows could be understood.
            if error.__cause__ is not None or frame.stream_id not in self.streams:
                raise
            return self.streams[frame.stream_id].reset_stream(ErrorCodes.PROTOCOL_ERROR), [_reset(frame.stream_id)]

    def _receive_data_frame(self, frame: DataFrame) -> tuple[list[Frame], list[Event]]:
        try:
            return super()._receive_data_frame(frame)
        except InvalidBodyLengthError:
            reset = self.streams[frame.stream_id].reset_stream(ErrorCodes.PROTOCOL_ERROR)
            self.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)
            return reset, [_reset(frame.stream_id)]

    def goaway(self) -> bytes:
        """Return the frame that announces the end: what was asked so far is answered, and nothing more.

        h2's own `close_connection` refuses to send anything after it, the answers that still run included.
        """
        return GoAwayFrame(0, last_stream_id=self.highest_inbound_stream_id, error_code=ErrorCodes.NO_ERROR).serialize()


def _reset(stream_id: int) -> StreamReset:
    return StreamReset(stream_id=stream_id, error_code=ErrorCodes.PROTOCOL_ERROR, remote_reset=False)
