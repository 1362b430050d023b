import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.annotation.JsonDeserialize;
import com.fasterxml.jackson.databind.deser.std.StdDeserializer;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.ser.std.StdSerializer;
import java.io.ByteArrayOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.*;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A KCL application in Java: typed events and rows with Jackson, one file, and a checkpoint per call.
 *
 * <p>Options are system properties: stream, kinesis and dynamodb (URLs), directory, events. It ends after that many
 * events, and prints the CPU in µs per event of the second half, when the JVM has compiled the code.
 */
public class KclPeer {
  record Request(String method, String url, Map<String, Object> parameters) {}

  record Response(int responseCode, Integer requestDuration, String contentType, String responseBody,
      @JsonDeserialize(using = Rfc2822.class) OffsetDateTime dateCreated) {}

  record Payload(@JsonProperty(required = true) String sid, String eventSid, OffsetDateTime timestamp,
      @JsonDeserialize(using = Rfc2822.class) OffsetDateTime requestDateCreated,
      @JsonProperty(required = true) Request request, @JsonProperty(required = true) Response response) {}

  record Event(@JsonProperty(required = true) String id, @JsonProperty(required = true) String type,
      @JsonProperty(required = true) String source, OffsetDateTime time,
      @JsonProperty(required = true) Payload data) {}

  record Row(String event_id, String event_source, String event_type, OffsetDateTime event_time, String call_sid,
      String webhook_event_sid, OffsetDateTime occurred_at, OffsetDateTime requested_at, OffsetDateTime responded_at,
      String method, String url, Map<String, Object> parameters, int status, Integer duration_ms, String content_type,
      String body) {}

  static class Iso extends StdDeserializer<OffsetDateTime> {
    private final DateTimeFormatter format;

    public Iso() {
      this(DateTimeFormatter.ISO_OFFSET_DATE_TIME);
    }

    Iso(DateTimeFormatter format) {
      super(OffsetDateTime.class);
      this.format = format;
    }

    @Override
    public OffsetDateTime deserialize(JsonParser parser, DeserializationContext context) throws IOException {
      return OffsetDateTime.parse(parser.getText(), format);
    }
  }

  static class Rfc2822 extends Iso {
    public Rfc2822() {
      super(DateTimeFormatter.RFC_1123_DATE_TIME);
    }
  }

  static class ToIso extends StdSerializer<OffsetDateTime> {
    public ToIso() {
      super(OffsetDateTime.class);
    }

    @Override
    public void serialize(OffsetDateTime date, JsonGenerator out, SerializerProvider context) throws IOException {
      out.writeString(date.toString());
    }
  }

  static final ObjectMapper JSON =
      new ObjectMapper()
          .configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false)
          .registerModule(
              new SimpleModule().addDeserializer(OffsetDateTime.class, new Iso()).addSerializer(new ToIso()));
  static final ObjectReader EVENTS = JSON.readerFor(Event.class);
  static final int EXPECTED = Integer.getInteger("events");
  static final CountDownLatch DONE = new CountDownLatch(1);
  static OutputStream file;
  static int written = 0;
  static int half = 0;
  static long cpuAtHalf;

  /** Returns the CPU that the process has used, in nanoseconds. */
  static long cpu() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
  }

  static byte[] rowOf(KinesisClientRecord record) throws IOException {
    byte[] data = new byte[record.data().remaining()];
    record.data().duplicate().get(data);
    Event event = EVENTS.readValue(data);
    Payload payload = event.data();
    Request request = payload.request();
    Response response = payload.response();
    String encoded = response.responseBody();
    String body = encoded == null ? null : new String(Base64.getDecoder().decode(encoded), StandardCharsets.UTF_8);
    return JSON.writeValueAsBytes(
        new Row(event.id(), event.source(), event.type(), event.time(), payload.sid(), payload.eventSid(),
            payload.timestamp(), payload.requestDateCreated(), response.dateCreated(), request.method(), request.url(),
            request.parameters(), response.responseCode(), response.requestDuration(), response.contentType(), body));
  }

  static synchronized void write(ByteArrayOutputStream lines, int rows) throws IOException {
    lines.writeTo(file);
    written += rows;
    if (half == 0 && written >= EXPECTED / 2) {
      half = written;
      cpuAtHalf = cpu();
    }
    if (written >= EXPECTED) {
      DONE.countDown();
    }
  }

  static class Processor implements ShardRecordProcessor {
    @Override
    public void initialize(InitializationInput input) {}

    @Override
    public void processRecords(ProcessRecordsInput input) {
      ByteArrayOutputStream lines = new ByteArrayOutputStream(1 << 20);
      try {
        for (KinesisClientRecord record : input.records()) {
          lines.write(rowOf(record));
          lines.write('\n');
        }
        write(lines, input.records().size());
        input.checkpointer().checkpoint();
      } catch (Exception error) {
        System.err.println(error);
      }
    }

    @Override
    public void leaseLost(LeaseLostInput input) {}

    @Override
    public void shardEnded(ShardEndedInput input) {}

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {}
  }

  static <B extends AwsClientBuilder<B, C>, C> C client(B builder, String url) {
    return builder
        .endpointOverride(URI.create(url))
        .region(Region.US_EAST_1)
        .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("bench", "bench")))
        .build();
  }

  static Scheduler scheduler() {
    String stream = System.getProperty("stream");
    var http = NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1).maxConcurrency(100);
    KinesisAsyncClient kinesis =
        client(KinesisAsyncClient.builder().httpClientBuilder(http), System.getProperty("kinesis"));
    DynamoDbAsyncClient dynamodb = client(DynamoDbAsyncClient.builder(), System.getProperty("dynamodb"));
    CloudWatchAsyncClient nowhere = client(CloudWatchAsyncClient.builder(), "http://127.0.0.1:9");
    var oldest = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
    var tracker = new SingleStreamTracker(StreamIdentifier.singleStreamInstance(stream), oldest);
    String worker = "worker-" + ProcessHandle.current().pid();
    var builder = new ConfigsBuilder(tracker, worker, kinesis, dynamodb, nowhere, worker, Processor::new);
    PollingConfig polling = new PollingConfig(stream, kinesis);
    polling.idleTimeBetweenReadsInMillis(200);
    polling.maxRecords(10_000);
    // Assign leases soon: a new application waits more than a minute otherwise, and that is not what is measured.
    var leases = builder.leaseManagementConfig().shardSyncIntervalMillis(1000);
    leases.leasesRecoveryAuditorExecutionFrequencyMillis(2000);
    leases.leaseAssignmentIntervalMillis(1500L);
    leases.workerUtilizationAwareAssignmentConfig().workerMetricsReporterFreqInMillis(2000L);
    return new Scheduler(
        builder.checkpointConfig(),
        builder.coordinatorConfig(),
        leases,
        builder.lifecycleConfig(),
        builder.metricsConfig().metricsLevel(MetricsLevel.NONE).metricsFactory(new NullMetricsFactory()),
        builder.processorConfig(),
        builder.retrievalConfig().retrievalSpecificConfig(polling));
  }

  public static void main(String[] arguments) throws Exception {
    file = new FileOutputStream(System.getProperty("directory") + "/rows.jsonl");
    Thread thread = new Thread(scheduler());
    thread.setDaemon(true);
    thread.start();
    DONE.await();
    double steady = (cpu() - cpuAtHalf) / 1000.0 / Math.max(1, written - half);
    file.close();
    System.out.println(String.format(Locale.ROOT, "%.2f", steady));
    System.out.flush();
    Runtime.getRuntime().halt(0);
  }
}
