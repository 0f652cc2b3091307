import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Fetch METHOD URL [BODY]: both of the JDK's HTTP clients, as they come. */
public final class Fetch {
    private interface Client {
        int send(String method, URI uri, String body) throws IOException, InterruptedException;
    }

    public static void main(String[] args) throws InterruptedException {
        String body = args.length > 2 ? args[2] : null;
        boolean done = true;
        for (Client client : new Client[] {Fetch::withConnection, Fetch::withClient}) {
            try {
                done &= client.send(args[0], URI.create(args[1]), body) == 200;
            } catch (IOException failure) {
                System.err.println(failure);
                done = false;
            }
        }
        System.exit(done ? 0 : 1);
    }

    private static int withConnection(String method, URI uri, String body) throws IOException {
        HttpURLConnection connection = (HttpURLConnection) uri.toURL().openConnection();
        connection.setRequestMethod(method);
        if (body != null) {
            connection.setDoOutput(true);
            connection.getOutputStream().write(body.getBytes());
        }
        int status = connection.getResponseCode();
        try (InputStream answer = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            answer.transferTo(System.out);
        }
        return status;
    }

    private static int withClient(String method, URI uri, String body) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(uri)
                .method(method, body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(body))
                .build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        System.out.print(answer.body());
        return answer.statusCode();
    }
}
