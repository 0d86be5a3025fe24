// node ask.js MODEL.json PIXELS HEIGHT WIDTH: the answers to pictures of one size, as JSON.
const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs-core');
const {loadGraphModel} = require('@tensorflow/tfjs-converter');
require('@tensorflow/tfjs-backend-wasm');

async function main(file, pixels, height, width) {
  await tf.setBackend('wasm');
  const description = JSON.parse(fs.readFileSync(file));
  const shards = description.weightsManifest.flatMap(group => group.paths);
  const content = Buffer.concat(shards.map(name => fs.readFileSync(path.join(path.dirname(file), name))));
  const model = await loadGraphModel({
    load: async () => ({
      ...description,
      weightSpecs: description.weightsManifest.flatMap(group => group.weights),
      weightData: new Uint8Array(content).buffer,
    }),
  });
  const bytes = fs.readFileSync(pixels);
  const size = height * width * 3;
  const answers = [];
  for (let start = 0; start < bytes.length; start += size) {
    const picture = tf.tensor(new Int32Array(bytes.subarray(start, start + size)), [1, height, width, 3], 'int32');
    const answer = model.execute({pixels: picture});
    answers.push(Array.from(await answer.data()));
    tf.dispose([picture, answer]);
  }
  console.log(JSON.stringify({
    metadata: description.userDefinedMetadata,
    probabilities: answers,
  }));
}

main(process.argv[2], process.argv[3], Number(process.argv[4]), Number(process.argv[5]));
