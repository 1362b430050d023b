/** LocalStack starts DynamoDB Local with a Java agent of its own image; this one does nothing in its place. */
public class NoAgent {
  public static void premain(String arguments) {}
}
