import java.io.FileOutputStream;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
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
import software.amazon.kinesis.leases.LeaseManagementConfig;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A real KCL worker, 2.7 or 3.x, against emulators. Options are system properties (-Dname=value): application, stream,
 * worker, kinesis and dynamodb (URLs), rows (a file), failover (ms), quick (all timers of 3.x short), and half.
 *
 * <p>Each user record becomes a line of `rows`: shard, sequence number, sub-sequence number, the event's id. With
 * `half` it checkpoints up to the event of that id, in the middle of an aggregate if it lies there, and not behind it.
 */
public class KclWorker {
  static final Pattern EVENT = Pattern.compile("\"id\": ?\"([^\"]+)\"");
  static final String HALF = System.getProperty("half");
  static PrintStream rows;
  static volatile boolean halfReached = false;

  /** One line of the log that tests look for. */
  static synchronized void say(String what) {
    System.err.println("EVENT " + System.currentTimeMillis() + " " + what);
  }

  static class Processor implements ShardRecordProcessor {
    private String shard;
    private boolean halted = false;

    @Override
    public void initialize(InitializationInput input) {
      shard = input.shardId();
      say("initialized " + shard + " " + input.extendedSequenceNumber());
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
      StringBuilder lines = new StringBuilder();
      KinesisClientRecord half = null;
      for (KinesisClientRecord record : input.records()) {
        String id = idOf(record);
        lines.append(String.join("\t", shard, record.sequenceNumber(), "" + record.subSequenceNumber(), id)).append('\n');
        half = id.equals(HALF) ? record : half;
      }
      synchronized (rows) {
        rows.append(lines);
        rows.flush();
      }
      if (halted) {
        return;
      }
      final KinesisClientRecord last = half;
      checkpoint(() -> {
        if (last == null) {
          input.checkpointer().checkpoint();
        } else {
          input.checkpointer().checkpoint(last.sequenceNumber(), last.subSequenceNumber());
        }
      });
      if (half != null) {
        halted = true;
        say("half " + shard);
      }
    }

    private static String idOf(KinesisClientRecord record) {
      Matcher matcher = EVENT.matcher(StandardCharsets.UTF_8.decode(record.data().asReadOnlyBuffer()));
      return matcher.find() ? matcher.group(1) : "?";
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
      say("lost " + shard);
    }

    @Override
    public void shardEnded(ShardEndedInput input) {
      checkpoint(() -> input.checkpointer().checkpoint());
      say("ended " + shard);
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
      say("asked " + shard);
      if (!halted) {
        checkpoint(() -> input.checkpointer().checkpoint());
      }
    }

    interface Checkpoint {
      void make() throws Exception;
    }

    private void checkpoint(Checkpoint checkpoint) {
      try {
        checkpoint.make();
      } catch (Exception error) {
        say("checkpoint-failed " + shard + " " + error.getClass().getSimpleName());
      }
    }
  }

  static <B extends AwsClientBuilder<B, C>, C> C client(B builder, String url) {
    return builder
        .endpointOverride(URI.create(url))
        .region(Region.US_EAST_1)
        .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test")))
        .build();
  }

  /** Sets an option that KCL 3.x has and 2.x has not. */
  static void set(Object config, String option, Class<?> type, Object value) throws Exception {
    try {
      config.getClass().getMethod(option, type).invoke(config, value);
    } catch (NoSuchMethodException error) {
      say("no option " + option);
    }
  }

  /** The shortest timers with which it still works, so that a test need not wait minutes. */
  static void hurry(LeaseManagementConfig leases) throws Exception {
    leases.shardSyncIntervalMillis(1000).leasesRecoveryAuditorExecutionFrequencyMillis(2000);
    set(leases, "leaseAssignmentIntervalMillis", Long.class, 1500L);
    set(leases, "dynamoDbLockBasedLeaderLeaseDurationInMillis", long.class, 8000L);
    set(leases, "dynamoDbLockBasedLeaderHeartbeatPeriodInMillis", long.class, 2000L);
    try {
      Object balance = leases.getClass().getMethod("workerUtilizationAwareAssignmentConfig").invoke(leases);
      set(balance, "workerMetricsReporterFreqInMillis", long.class, 2000L);
    } catch (NoSuchMethodException error) {
      say("no worker metrics");
    }
  }

  public static void main(String[] arguments) throws Exception {
    rows = new PrintStream(new FileOutputStream(System.getProperty("rows"), true), false, StandardCharsets.UTF_8);
    // HTTP/1.1: the real service's HTTP/2 is more than the emulators speak.
    KinesisAsyncClient kinesis =
        client(
            KinesisAsyncClient.builder()
                .httpClientBuilder(NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1).maxConcurrency(100)),
            System.getProperty("kinesis"));
    DynamoDbAsyncClient dynamodb = client(DynamoDbAsyncClient.builder(), System.getProperty("dynamodb"));
    CloudWatchAsyncClient nowhere = client(CloudWatchAsyncClient.builder(), "http://127.0.0.1:9");
    String stream = System.getProperty("stream");
    SingleStreamTracker tracker =
        new SingleStreamTracker(
            StreamIdentifier.singleStreamInstance(stream),
            InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON));
    ConfigsBuilder builder =
        new ConfigsBuilder(
            tracker,
            System.getProperty("application"),
            kinesis,
            dynamodb,
            nowhere,
            System.getProperty("worker"),
            Processor::new);
    PollingConfig polling = new PollingConfig(stream, kinesis);
    polling.idleTimeBetweenReadsInMillis(Long.getLong("idle", 1000));
    LeaseManagementConfig leases = builder.leaseManagementConfig().failoverTimeMillis(Long.getLong("failover", 10000));
    var coordinator = builder.coordinatorConfig();
    if (Boolean.getBoolean("quick")) {
      hurry(leases);
      coordinator.parentShardPollIntervalMillis(1000);
    }
    Scheduler scheduler =
        new Scheduler(
            builder.checkpointConfig(),
            coordinator,
            leases,
            builder.lifecycleConfig(),
            builder.metricsConfig().metricsLevel(MetricsLevel.NONE).metricsFactory(new NullMetricsFactory()),
            builder.processorConfig(),
            builder.retrievalConfig().retrievalSpecificConfig(polling));
    Thread thread = new Thread(scheduler, "scheduler");
    thread.start();
    say("started");
    Runtime.getRuntime().addShutdownHook(new Thread(() -> shutDown(scheduler)));
    thread.join();
    say("over");
    System.exit(0);
  }

  static void shutDown(Scheduler scheduler) {
    try {
      say("graceful " + scheduler.startGracefulShutdown().get(30, TimeUnit.SECONDS));
    } catch (Exception error) {
      say("not graceful " + error);
    }
  }
}
