# The server, for a PostgreSQL of your own: no embedded one, no development packages, no compiler.
# docs/operations.md#containers says how to run it; compose.yaml brings a PostgreSQL.
ARG NODE_IMAGE=node:22-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
# The compiler's binary is an optional package; scripts would build before the sources are here.
RUN npm ci --no-audit --no-fund --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run --silent build

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Optional packages are PostgreSQL's binaries.
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund --ignore-scripts

FROM ${NODE_IMAGE}
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
COPY bin bin
COPY migrations migrations
COPY docker/healthcheck.mjs docker/healthcheck.mjs
# Beyond loopback the server asks for TLS, or for FROSTLINE_ALLOW_PLAINTEXT=1: that is for whoever runs it to say.
ENV NODE_ENV=production FROSTLINE_LISTEN=0.0.0.0:50051 FROSTLINE_HTTP_LISTEN=0.0.0.0:8080
# Of the image: neither root nor an owner of these files.
USER node
EXPOSE 50051 8080
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["node", "docker/healthcheck.mjs"]
# As in the first line of the program.
ENTRYPOINT ["node", "--max-semi-space-size=8", "bin/frostline.js"]
CMD ["serve"]
