// Connects to each name through one address and verifies as HttpsURLConnection would.
// Prints "NAME ok" or "NAME refused: why". The trust store comes in by the usual system properties.

import java.net.Socket;
import java.util.Arrays;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

public class Client {
  public static void main(String[] args) throws Exception {
    int colon = args[0].lastIndexOf(':');
    String host = args[0].substring(0, colon);
    int port = Integer.parseInt(args[0].substring(colon + 1));
    SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
    for (String name : Arrays.copyOfRange(args, 1, args.length)) {
      Socket raw = new Socket(host, port);
      raw.setSoTimeout(10_000);
      try (SSLSocket socket = (SSLSocket) factory.createSocket(raw, name, port, true)) {
        var parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        System.out.println(name + " ok");
      } catch (SSLException error) {
        System.out.println(name + " refused: " + error.getMessage());
      }
    }
  }
}
