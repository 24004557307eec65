# The processor in an image: docker build -t graceline .
FROM rust:1.95-bookworm AS build
WORKDIR /graceline
COPY . .
RUN cargo build --release --locked --features tls

FROM debian:bookworm-slim
# OpenSSL for TLS towards Kafka, and the certificate authorities that it trusts.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libssl3 ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home graceline
COPY --from=build /graceline/target/release/graceline /usr/local/bin/graceline
COPY --from=build /graceline/config/graceline.toml /etc/graceline/graceline.toml
USER graceline
EXPOSE 8080
ENTRYPOINT ["graceline"]
CMD ["run", "--config", "/etc/graceline/graceline.toml"]
