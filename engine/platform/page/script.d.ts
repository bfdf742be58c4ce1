declare module "voxgrad:script";
declare module "voxgrad:nats";
declare module "*.css";
