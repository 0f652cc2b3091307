import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Fetch FLAVOUR METHOD URL [BODY]: both of the JDK's HTTP clients, as they come. */
public final class Fetch {
    public static void main(String[] args) throws IOException, InterruptedException {
        String body = args.length > 3 ? args[3] : null;
        int status = args[0].equals("HttpClient")
                ? withClient(args[1], URI.create(args[2]), body)
                : withConnection(args[1], URI.create(args[2]), body);
        System.exit(status == 200 ? 0 : 1);
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
        if (answer.statusCode() != 200) System.err.println(answer.statusCode() + " " + answer.headers().map());
        return answer.statusCode();
    }
}
