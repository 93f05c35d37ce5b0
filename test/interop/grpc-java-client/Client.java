import io.grpc.CallOptions;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Base64;
import java.util.Iterator;
import java.util.Scanner;
import java.util.concurrent.TimeUnit;

/**
 * Makes the calls it is told on standard input, one a line ("unary|gzip|stream METHOD BASE64"), with grpc-java on netty, and
 * prints what came of each: "message BASE64", or "error CODE DESCRIPTION". Of a stream it takes the first message and leaves.
 *
 *     java -cp 'JARS/*' Client.java HOST:PORT
 */
public final class Client {
  private static final MethodDescriptor.Marshaller<byte[]> BYTES = new MethodDescriptor.Marshaller<>() {
    @Override public InputStream stream(byte[] message) {
      return new ByteArrayInputStream(message);
    }

    @Override public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  };

  public static void main(String[] args) throws InterruptedException {
    ManagedChannel channel = Grpc.newChannelBuilder(args[0], InsecureChannelCredentials.create()).build();
    Scanner lines = new Scanner(System.in);
    while (lines.hasNextLine()) {
      String[] words = lines.nextLine().split(" ", -1);
      System.out.println(call(channel, words[0], words[1], Base64.getDecoder().decode(words[2])));
    }
    channel.shutdown();
    if (!channel.awaitTermination(10, TimeUnit.SECONDS)) throw new IllegalStateException("calls are still open");
  }

  private static String call(ManagedChannel channel, String kind, String method, byte[] request) {
    boolean streams = kind.equals("stream");
    MethodDescriptor<byte[], byte[]> descriptor = MethodDescriptor.newBuilder(BYTES, BYTES)
        .setFullMethodName(method)
        .setType(streams ? MethodType.SERVER_STREAMING : MethodType.UNARY)
        .build();
    CallOptions options = CallOptions.DEFAULT;
    if (kind.equals("gzip")) options = options.withCompression("gzip");
    if (!streams) options = options.withDeadlineAfter(30, TimeUnit.SECONDS);
    try {
      if (!streams) return said(ClientCalls.blockingUnaryCall(channel, descriptor, options, request));
      io.grpc.Context.CancellableContext leaving = io.grpc.Context.current().withCancellation();
      io.grpc.Context before = leaving.attach();
      try {
        Iterator<byte[]> answers = ClientCalls.blockingServerStreamingCall(channel, descriptor, options, request);
        return said(answers.next());
      } finally {
        leaving.detach(before);
        leaving.cancel(null);
      }
    } catch (StatusRuntimeException error) {
      return "error " + error.getStatus().getCode() + " " + error.getStatus().getDescription();
    }
  }

  private static String said(byte[] message) {
    return "message " + Base64.getEncoder().encodeToString(message);
  }
}
